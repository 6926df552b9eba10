# --sha256: files as published. A file with another sum is named, and the model is not opened.
cp -r "$DATA/toy-qwen2" m
(cd m && sha256sum ./*) >SUMS
"$BALEEN" verify m --sha256 SUMS
echo "exit $?"
"$BALEEN" verify m/model.safetensors --sha256 SUMS --json | sed -n '/"sums"/,$p'
"$BALEEN" verify m/model.safetensors --sha256 SUMS --text SUMS
echo "a text cannot be run: exit $?"
echo "== another byte"
printf x | dd of=m/model.safetensors bs=1 seek=0 conv=notrunc 2>/dev/null
"$BALEEN" verify m 2>&1
echo "without the list: exit $?"
"$BALEEN" verify m --sha256 SUMS
echo "exit $?"
"$BALEEN" verify m --sha256 SUMS --json 2>/dev/null
echo "exit $?"
echo "== a file that is not there, one that is not listed"
rm m/config.json
touch m/other
"$BALEEN" verify m --sha256 SUMS
echo "exit $?"
echo "== no list"
echo hello >SUMS
"$BALEEN" verify m --sha256 SUMS
echo "exit $?"
"$BALEEN" verify m --sha256 nowhere
echo "exit $?"
