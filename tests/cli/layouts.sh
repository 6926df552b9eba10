# Folders of quantized weights: made, checked, archived and back; what is refused, and what is recorded.
for layout in fp8 fp8-ue8m0 ascend; do
    "$BALEEN" quantize "$DATA/nano-r1" -o $layout --layout $layout --method plain >/dev/null
    "$BALEEN" verify $layout
done
"$BALEEN" quantize "$DATA/nano-r1" -o int8 --type int8 --method plain >/dev/null
"$BALEEN" quantize "$DATA/nano-r1" -o int4 --type int4 --group-size 32 --asymmetric --method plain >/dev/null
"$BALEEN" quantize "$DATA/nano-r1" -o gptq --layout gptq --group-size 64 --method plain >/dev/null
"$BALEEN" quantize "$DATA/nano-r1" -o awq --layout awq --group-size 64 --method plain >/dev/null
for x in int8 int4 gptq awq; do
    "$BALEEN" verify $x --structure-only
    "$BALEEN" inspect $x --tensors | grep 'layers.1.mlp.experts.0.up_proj'
done
for x in ascend awq; do
    "$BALEEN" convert $x -o $x.bln >/dev/null
    "$BALEEN" verify $x.bln
    "$BALEEN" convert $x.bln -o $x.again >/dev/null
    diff -r $x $x.again && echo "$x: the same"
done
# what does not fit together
"$BALEEN" quantize "$DATA/nano-r1" -o x --layout zip
echo "exit $?"
"$BALEEN" quantize "$DATA/nano-r1" -o x --layout ascend --type int4
echo "exit $?"
"$BALEEN" quantize "$DATA/nano-r1" -o x --type int8 --group-size 64
echo "exit $?"
"$BALEEN" quantize "$DATA/nano-r1" -o x --type int4 --group-size 100
echo "exit $?"
"$BALEEN" quantize "$DATA/nano-r1" -o x.gguf --layout fp8
echo "exit $?"
# lossy on lossy
"$BALEEN" quantize int4 -o x --type int8
echo "exit $?"
"$BALEEN" quantize int4 -o x --type int8 --requantize >/dev/null && grep requantized x/config.json
# GGUF has no FP8
"$BALEEN" convert "$DATA/nano-r1" -o x.gguf --dtype keep
echo "exit $?"
"$BALEEN" convert "$DATA/toy-qwen2" -o x.bln --dtype keep
echo "exit $?"
# other shards of the same tensors, byte for byte
"$BALEEN" convert awq -o shards --shard-size 1MB | tail -1
ls shards | head -3
diff awq/config.json shards/config.json && "$BALEEN" verify shards --against awq | tail -1
# a part of another layout than the one that config.json names
rm ascend/quant_model_description.json
"$BALEEN" inspect ascend
echo "exit $?"
