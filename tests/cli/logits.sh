# The reference runs once, its answers are kept, and models are compared with the file.
nano=$DATA/nano-r1 text=$DATA/text/wiki.eval.txt
verify() { "$BALEEN" verify -j 1 "$@"; }
numbers() { sed -n '/logits/p;/perplexity  /p;/mean KL/p;/sampling/p;/same top/p' | sed 's/[-0-9]*[0-9]\.[0-9]*/N/g;s/   */  /g'; }
"$BALEEN" quantize "$nano" -o x.gguf --type q4_0 >/dev/null
for kind in sparse hidden llama.cpp; do
    verify "$nano" --text "$text" --ctx 64 --tokens 512 --save-logits "$kind.x" \
        --logits-kind "$kind" | numbers
    verify "$nano" --text "$text" --logits "$kind.x" --max-kld 0.00002 | numbers
done
# The tokens are taken from the file.
verify x.gguf --logits sparse.x --max-kld 0.01 | numbers
verify x.gguf --logits hidden.x --max-kld 0.0001 >out 2>err
echo "exit $?"
sed 's/[0-9.]* exceeds/N exceeds/' err
verify x.gguf --logits sparse.x --json |
    grep -c -e '"logits_kind": "sparse"' -e '"logits_model": "nano-r1"' -e '"mean_kld_sampling_error"' \
        -e '"logits_model_hash": "3474a5e25489e154ddbc8cff62baf911"'
# A .bln is the model that it was made from.
"$BALEEN" convert "$nano" -o nano.bln >/dev/null
verify nano.bln --text "$text" --ctx 64 --tokens 512 --save-logits bln.x --json |
    grep -c '"logits_model_hash": "3474a5e25489e154ddbc8cff62baf911"'
# The page says where the reference is.
verify x.gguf --logits sparse.x --report page.html >/dev/null
grep -c 'The reference is kept in <code>sparse.x</code> (sparse, logits of <code>nano-r1</code>)' page.html
# With the text, its tokens must be the same; llama.cpp's file leaves the BOS to the tokenizer.
verify x.gguf --text "$text" --logits sparse.x | numbers
verify x.gguf --logits llama.cpp.x | numbers
mkdir bare
cp "$nano"/*.safetensors "$nano/config.json" "$nano/model.safetensors.index.json" bare
verify bare --logits sparse.x | numbers
# What does not go together, and what is not there.
verify bare --text "$text" --logits sparse.x
verify bare --logits llama.cpp.x
verify "$nano" --text "$text" --logits sparse.x --ctx 128
verify "$nano" --text "$text" --logits sparse.x --tokens 256
verify "$nano" --text "$DATA/text/code.eval.txt" --logits sparse.x
verify "$nano" --text "$text" --logits x.gguf
verify "$nano" --text "$text" --save-logits sparse.x
verify "$nano" --text "$text" --save-logits "$text"
verify "$nano" --save-logits y
verify "$nano" --text "$text" --save-logits y --logits-kind dense
verify "$nano" --text "$text" --save-logits y --against "$nano"
verify "$nano" --text "$text" --logits y --save-logits z
verify "$nano" --text "$text" --logits-kind sparse
verify "$nano" --text "$text" --stride 32 --ctx 64 --tokens 512 --save-logits y \
    --logits-kind llama.cpp
for at in 100 300 5000; do
    cp sparse.x broken.x
    printf X | dd of=broken.x bs=1 seek=$at conv=notrunc 2>/dev/null
    verify x.gguf --logits broken.x
done
rm -rf out err broken.x bare page.html
ls
