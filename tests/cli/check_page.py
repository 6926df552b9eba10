#!/usr/bin/env python3
"""check_page.py PAGE.html REPORT.json: the page of verify, read strictly.

It must be well-formed (as XML, and with every HTML tag closed where it was opened), hold nothing
but the elements and attributes that the program writes, fetch nothing, and show every number,
finding, field and diagnosis of the JSON report. Of the tensors only the worst are shown, of the multiple-choice items those that
changed sides. Prints what it counted.
"""
import html.parser, json, re, sys
import xml.etree.ElementTree as xml

ELEMENTS = set("""html head meta title style body h1 h2 h3 p section div span table tr th td ul ol
    li code data mark sup svg path rect""".split())
ATTRIBUTES = set("""lang charset name http-equiv content class style value viewBox
    preserveAspectRatio role aria-label d x y width height""".split())
VOID = {"meta"}
N_WORST = 20
N_CHANGED = 20


def expect(true, sentence):
    if not true:
        sys.exit(f"check_page: {sentence}")


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        expect(tag in VOID | {"path"}, f"<{tag}/> is no empty element of HTML")

    def handle_endtag(self, tag):
        expect(self.open and self.open.pop() == tag, f"</{tag}> closes something else")


def right(item):
    return item["chosen"] == item["answer"]


def changed(items):
    """What is shown of the first items that only one of two models gets right."""
    pairs = [(i, i["reference"]) for i in items if "reference" in i]
    return [[i["line"], i["answer"], i["chosen"], i["margin"], r["chosen"], r["margin"]]
            for i, r in pairs if right(i) != right(i | r)][:N_CHANGED]


def shown_of(key, value):
    """Of lists that can be long, what the page shows."""
    if key != "list":
        return value
    if value and "answer" in value[0]:
        return changed(value)
    return [t for t in value if not t["identical"]][:N_WORST]


def numbers(value):
    """Every number of the report that must be on the page."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, list):
        for v in value:
            yield from numbers(v)
    else:
        for key, v in value.items():
            yield from numbers(shown_of(key, v))


def sentences(report):
    """Every sentence of the report that must be on the page, from lists that are not long."""
    tensors = report.get("tensors", {})
    yield from report.get("findings", []) + report.get("sums", {}).get("findings", [])
    yield from tensors.get("damaged", [])
    yield from (t["diagnosis"] for t in tensors.get("list", []) if "diagnosis" in t)
    for difference in report.get("configuration", []):
        yield from difference.values()


text = open(sys.argv[1], encoding="utf-8", newline="").read()
report = json.load(open(sys.argv[2]))
root = xml.fromstring(text)
page = Page()
page.feed(text)
page.close()
expect(not page.open, f"not closed: {page.open}")
for e in root.iter():
    expect(e.tag in ELEMENTS, f"an element <{e.tag}>")
    expect(set(e.attrib) <= ATTRIBUTES, f"attributes {set(e.attrib) - ATTRIBUTES} of <{e.tag}>")
style = root.find("head/style").text
expect(not re.search(r"url\(|@import|https?:", style), "the style fetches something")
expect(all(re.fullmatch(r"(left|bottom):[0-9.]+%", e.get("style")) for e in root.iter()
           if e.get("style")), "a style attribute that is no place")
shown = {float(e.get("value")) for e in root.iter("data")}
want = set(map(float, numbers(report)))
expect(want <= shown, f"not shown: {sorted(want - shown)}")
words = "".join(root.itertext())
for sentence in sentences(report):
    expect(sentence in words, f"not there: {sentence}")
expect(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text),
       "a character that acts on the text around it")
print("sections:", "; ".join(e.text for e in root.iter("h2")))
print("plots:", sum(1 for _ in root.iter("svg")), "tokens in context:",
      sum(1 for _ in root.iter("mark")))
