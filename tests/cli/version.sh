# The version is the answer: standard output, status 0.
"$BALEEN" --version
