# What is no checkpoint at all is called so, in terms of what it was taken for.
"$BALEEN" inspect "$DATA/nano-r1/config.json"
echo "exit $?"
: >empty
"$BALEEN" inspect empty
echo "exit $?"
mkdir folder
"$BALEEN" inspect folder
echo "exit $?"
"$BALEEN" inspect /dev/null
echo "exit $?"
ln -s loop loop
"$BALEEN" inspect loop
echo "exit $?"
printf 'GGUF\003\000\000\000' >cut.gguf
"$BALEEN" inspect cut.gguf
echo "exit $?"
mkfifo pipe
"$BALEEN" verify "$DATA/nano-r1" --text pipe
echo "exit $?"
