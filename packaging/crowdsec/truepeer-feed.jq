# Turns the decisions that crowdsec-custom-bouncer feeds, one JSON object a line, into lines for
# `truepeer deny --feed`: +NETWORK DURATION REASON and -NETWORK.
# A line that cannot be used becomes a comment, so that it shows where the feed is looked at; it never ends the feed.

# "3h59m58.123s" has a fraction, which truepeer does not take; a part of a second counts as one.
def whole_seconds:
  if test("^[0-9hms.]+$") and (test("ms$") | not) then
    (capture("^((?<h>[0-9]+)h)?((?<m>[0-9]+)m)?((?<s>[0-9.]+)s)?$") // {})
    | ((.h // "0" | tonumber) * 3600 + (.m // "0" | tonumber) * 60 + (.s // "0" | tonumber | ceil))
  else 0 end;

# At most 365 days, which is truepeer's longest.
def lasting: whole_seconds | if . < 1 then 1 elif . > 31536000 then 31536000 else . end | "\(.)s";

def line:
  if (.scope | ascii_downcase) != "ip" and (.scope | ascii_downcase) != "range" then
    "# \(.action) \(.scope) \(.value): only addresses and ranges can be banned"
  elif .action == "add" and .type == "ban" then
    "+\(.value) \(.duration | lasting) crowdsec \(.scenario)"
  elif .action == "add" then
    "# \(.type) \(.value): only bans can be set"
  elif .action == "del" and .type == "ban" then
    "-\(.value)"
  else
    "# \(.action) \(.type) \(.value): not understood"
  end;

# A value with blanks in it would be read as an address and something else.
def has_words: (.value | strings | test("\\s") | not) // false;

inputs as $text
| try ($text | fromjson | if has_words then line else error("no address") end)
  catch "# \($text): not understood"
# A line feed inside a value would begin an order of its own.
| gsub("[\r\n]"; " ")
