# The page: well-formed, complete, nothing of a hostile text or name in it as markup, the same at
# any -j, never written over something, and written when the answer is no as well.
wiki=$DATA/text/wiki.eval.txt
check=$DATA/../cli/check_page.py
"$BALEEN" quantize "$DATA/nano-r1" -o x.gguf --type q4_0 >/dev/null
page() {
    "$BALEEN" verify "$@" --json >out.json 2>err
    echo "exit $?"
    sed 's/[0-9.]* exceeds/N exceeds/' err
    python3 -B "$check" page.html out.json
}
echo '-- two models, a text, items, gates'
sed -n 29,32p "$DATA/choices/domain.jsonl" >items.jsonl
page x.gguf --against "$DATA/nano-r1" --text "$wiki" --tokens 2048 --max-kld 0.01 -j 1 \
    --max-ppl-ratio 0.5 --choices items.jsonl --min-same-choice 0.5 --report page.html
cp page.html first.html
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$wiki" --tokens 2048 --max-kld 0.01 \
    -j 3 --max-ppl-ratio 0.5 --choices items.jsonl --min-same-choice 0.5 --report second.html >/dev/null 2>&1
cmp first.html second.html && echo the same bytes
echo '-- what is there is kept'
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --report page.html
echo "exit $?"
cmp first.html page.html && echo kept
"$BALEEN" verify x.gguf --report x.gguf --force
echo "exit $?"
"$BALEEN" verify x.gguf --text "$wiki" --against "$DATA/nano-r1" --report nowhere/page.html
echo "exit $?"
echo '-- only a comparison'
page x.gguf --against "$DATA/nano-r1" --report page.html --force
echo '-- nothing differs'
page "$DATA/nano-r1" --against "$DATA/nano-r1" --report page.html --force
echo '-- only a text, and a hostile one'
name='<b onclick="x">&amp;.txt'
python3 -c 'print("</p><script>alert(1)</script> & \x22q\x22 \x27 \u202e\u2066 \x01\t\ufffe ]]> \U0001f40b\n" * 40)' >"$name"
page "$DATA/nano-r1" --text "$name" --ctx 64 --stride 64 --tokens 900 --report page.html --force
grep -c '&lt;b onclick=&quot;x&quot;&gt;&amp;amp;.txt' page.html
grep -q '&lt;/*script' page.html && echo escaped
echo '-- another structure'
python3 -B "$DATA/../cli/break.py" missing-tensor "$DATA/nano-r1" less
page less --against "$DATA/nano-r1" --report page.html --force
echo '-- exchanged experts, another configuration, a side file that disagrees'
python3 -B "$DATA/../cli/break.py" experts-exchanged "$DATA/nano-r1" a
python3 -B "$DATA/../cli/break.py" rope-theta a b
python3 -B "$DATA/../cli/break.py" other-end b c
page c --against "$DATA/nano-r1" --report page.html --force
grep -c '</code> looks exchanged with model.layers.1.mlp.experts' page.html
grep -o '<code>rope_theta</code></td><td>20000</td><td>10000' page.html
grep -o '<li>generation_config.json: .*<' page.html
echo '-- a tensor that cannot be decoded'
python3 -B "$DATA/../cli/break.py" nan-code "$DATA/nano-r1" nan
page "$DATA/nano-r1" --against nan --report page.html --force
echo '-- sums: as listed, and not'
(cd a && sha256sum ./*) >SUMS
page a --sha256 SUMS --report page.html --force
page b --sha256 SUMS --max-kld 1 --text "$wiki" --against a --report page.html --force
grep -o '<p class="verdict.*<' page.html
(cd a && sha256sum model-00001-of-000003.safetensors) >SUMS
page a/model-00001-of-000003.safetensors --sha256 SUMS --report page.html --force
rm -r a b c nan
ls
