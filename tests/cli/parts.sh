# A .bln in several files, what it says of its origin, and what is said when a part is not the right one.
nano=$DATA/nano-r1
"$BALEEN" convert "$nano" -o a.bln --split 3MB --sha256 -q
ls
"$BALEEN" inspect a.bln | grep -e files -e made
"$BALEEN" verify a.bln | tail -1
"$BALEEN" convert a.bln -o back -q && diff -r "$nano" back && echo "the same folder"
"$BALEEN" inspect a.bln --sums >sums
(cd back && sha256sum --quiet -c ../sums) && echo "and the sums are right"
"$BALEEN" convert "$nano" -o b.bln --codec zlib -q
"$BALEEN" inspect b.bln | grep made
"$BALEEN" inspect b.bln --sums
echo "exit $?"
"$BALEEN" convert "$nano" -o a.bln --split 3MB
echo "exit $?"
"$BALEEN" convert "$nano" -o c.bln --split 3MB --resume
echo "exit $?"
"$BALEEN" inspect a.bln.001
echo "exit $?"
mv a.bln.002 keep
"$BALEEN" inspect a.bln
echo "exit $?"
cp a.bln.001 a.bln.002
"$BALEEN" inspect a.bln
echo "exit $?"
"$BALEEN" convert "$nano" -o c.bln --split 4MB -q >/dev/null
cp c.bln.001 a.bln.001
"$BALEEN" inspect a.bln
echo "exit $?"
