# Deal a mixed text out by kind, in pieces of 20 lines: awk -v code=code.txt -v prose=prose.txt -f domains.awk calib.txt
# Code: at least half of the lines are indented by four or begin as Python statements do; prose: tokenised
# wikitext, whose lines have " , " or " . " or " @-@ ".
function deal() {
    if (like_prose * 2 >= n && n > 0) printf "%s", piece > prose
    else if (like_code * 2 >= n && n > 0) printf "%s", piece > code
    piece = ""; n = like_code = like_prose = 0
}
{
    piece = piece $0 "\n"
    if ($0 !~ /^[ \t]*$/) {
        n++
        if ($0 ~ /^(    |def |class |import |from |@|if |for |return )/ && $0 !~ /Webster/) like_code++
        if ($0 ~ / , | \. | @-@ /) like_prose++
    }
}
NR % 20 == 0 { deal() }
END { deal() }
