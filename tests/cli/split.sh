# A GGUF model in several files: written, read through any of them, and what is said when one is not the right one.
nano=$DATA/nano-r1
"$BALEEN" quantize "$nano" -o a.gguf --type q4_k_m >/dev/null
"$BALEEN" quantize "$nano" -o b.gguf --type q4_k_m --split 1MB | tail -1
ls
"$BALEEN" inspect b-00001-of-00004.gguf | head -1
"$BALEEN" verify b-00003-of-00004.gguf --against a.gguf | tail -1
"$BALEEN" convert b-00001-of-00004.gguf -o whole.gguf --dtype f32 | tail -1
"$BALEEN" verify whole.gguf --structure-only | tail -1
"$BALEEN" quantize "$nano" -o b.gguf --type q4_k_m --split 1MB
echo "exit $?"
"$BALEEN" quantize "$nano" -o b.gguf --type q4_k_m --split 1MB --resume
echo "exit $?"
"$BALEEN" convert "$nano" -o x --split 1MB
echo "exit $?"
cp b-00002-of-00004.gguf keep
cp b-00003-of-00004.gguf b-00002-of-00004.gguf
"$BALEEN" inspect b-00001-of-00004.gguf
echo "exit $?"
rm b-00002-of-00004.gguf
"$BALEEN" inspect b-00004-of-00004.gguf
echo "exit $?"
mv keep renamed.gguf
"$BALEEN" inspect renamed.gguf
echo "exit $?"
"$BALEEN" convert "$nano" -o c.gguf --split 6MB --dry-run -j 2 | grep '^files'
