# Outputs that must not be: an existing one, one without a folder, the input itself, the wrong kind.
cp -r "$DATA/nano-r1" in
"$BALEEN" quantize in -o missing/x.gguf --type q8_0
echo "exit $?"
echo precious >x.gguf
"$BALEEN" quantize in -o x.gguf --type q8_0
echo "exit $?"
cat x.gguf
"$BALEEN" quantize in -o in --type int4 --force
echo "exit $?"
mv in x.partial
"$BALEEN" quantize x.partial -o x/ --type int4 --force
echo "exit $?"
mv x.partial in
"$BALEEN" quantize in -o x.bin --type q8_0
echo "exit $?"
"$BALEEN" quantize in -o y.gguf --type int4
echo "exit $?"
"$BALEEN" quantize in -o y.gguf --type q9_9
echo "exit $?"
"$BALEEN" quantize in --type q8_0
echo "exit $?"
"$BALEEN" quantize in -o y.gguf --type q8_0 --frobnicate
echo "exit $?"
"$BALEEN" quantize /dev/null -o y.gguf --type q8_0
echo "exit $?"
"$BALEEN" quantize no-such-folder -o y.gguf --type q8_0
echo "exit $?"
"$BALEEN" frobnicate 2>/dev/null
echo "exit $?"
ls
# With --force a folder goes as a whole: not when the input is one of its files.
cp -r in out
"$BALEEN" convert in -o out/x.bln >/dev/null
"$BALEEN" convert out/x.bln -o out --force
echo "exit $?"
ls out/x.bln
