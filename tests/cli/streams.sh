# A standard stream that is closed or full is an error, never a place for other output; a pipe that
# nobody reads any more ends the run as it ends any other program, and leaves nothing.
for arguments in --version --help 'inspect --help' "inspect $DATA/nano-r1"; do
    "$BALEEN" $arguments >/dev/full
    echo "full: exit $?"
    "$BALEEN" $arguments >&-
    echo "closed: exit $?"
done
"$BALEEN" tokenize "$DATA/nano-r1" <&-
echo "exit $?"
"$BALEEN" tokenize "$DATA/nano-r1" </dev/null
echo "exit $?"
printf '1 2\0 3\n' | "$BALEEN" tokenize "$DATA/nano-r1" --decode
echo "exit $?"
"$BALEEN" convert "$DATA/nano-r1" -o a.gguf >out
"$BALEEN" convert "$DATA/nano-r1" -o b.gguf --progress <&- >&- 2>&-
echo "exit $?"
cmp a.gguf b.gguf && echo same bytes
python3 - "$BALEEN" "$DATA/nano-r1" <<'PY'
import os, signal, subprocess, sys

reading, writing = os.pipe()
os.close(reading)
run = subprocess.run([sys.argv[1], "inspect", sys.argv[2]], stdout=writing, stderr=subprocess.PIPE,
                     restore_signals=True)
print("broken pipe:", signal.Signals(-run.returncode).name, run.stderr)
PY
ls
