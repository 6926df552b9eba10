# Types by recipe, size and name; statistics of this model, of another, cut; what is refused.
nano=$DATA/nano-r1 stats=$DATA/nano-r1.statistics.safetensors
"$BALEEN" quantize "$nano" -o a.gguf --type q4_k_m --stats "$stats" --tensor 'blk.1.*=q8_0' --tensor 'token_embd.weight=bf16'
"$BALEEN" quantize "$nano" -o b.gguf --size 2600000 --stats "$stats" --dry-run
"$BALEEN" quantize "$nano" -o b.gguf --size 2600000 --stats "$stats"
test "$(stat -c %s b.gguf)" -le 2600000 && echo "not larger than asked for"
"$BALEEN" quantize "$nano" -o c.gguf --bpw 3.5 --json -q | sed -n '1,6p'
"$BALEEN" quantize "$nano" -o d.gguf --fit 79MB --ctx 512 --dry-run | head -1
echo "== the same from an archive, and from a GGUF file of the same values"
"$BALEEN" convert "$nano" -o nano.bln >/dev/null
"$BALEEN" quantize nano.bln -o e.gguf --size 2600000 --stats "$stats" >/dev/null
cmp b.gguf e.gguf && echo same
"$BALEEN" convert "$nano" -o f32.gguf --dtype f32 >/dev/null
"$BALEEN" quantize f32.gguf -o f.gguf --size 2600000 --stats "$stats" -q >/dev/null
cmp b.gguf f.gguf && echo same
echo "== refused"
run() {
    "$BALEEN" quantize "$@" 2>&1 >/dev/null | sed 's/[0-9]\{7,\}/N/g'
}
run "$nano" -o x.gguf --size 1MB
run "$nano" -o x.gguf --fit 10MB
run "$nano" -o x.gguf --bpw 3 --type q4_k_m
run "$nano" -o x.gguf
run "$nano" -o x.gguf --type q4_k_m --tensor 'blk.*.ffn_gat_exps.weight=q8_0'
run "$nano" -o x.gguf --type q4_k_m --tensor 'token_embd.weight=q9'
run "$nano" -o x.gguf --type q4_k_m --tensor 'token_embd.weight=iq2_xxs'
run "$nano" -o x --type int4 --size 5MB
run "$nano" -o x.gguf --type q4_k_m --method awq
run "$DATA/toy-mla" -o x.gguf --type q4_k_m --stats "$stats"
head -c 30000 "$stats" >cut.safetensors
run "$nano" -o x.gguf --type q4_k_m --stats cut.safetensors
run a.gguf -o x.gguf --type q4_k_m
ls
