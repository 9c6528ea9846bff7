#!/bin/sh
# What `make demo` shows: typed values out of real messages, and out of one text.
# Usage: examples/demo.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}

show() {
  printf '\n$ typedllm'
  for word; do
    case $word in
      *[!A-Za-z0-9_./-]*) printf " '%s'" "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  printf '\n\n'
  "$python" -m typedllm "$@"
}

echo 'The model is the one in the package: 2 million parameters, on NumPy. Whatever it answers is of'
echo 'the type asked for; how often it is right is another matter, so each value says how sure it is.'

show extract examples/data/messages.csv --column text --limit 12 --format table --spec \
  '{"topic": ["account", "card", "cash", "exchange", "fees", "payment", "security", "top_up", "transfer"]}'

show extract 'Please pay 249.50 EUR to Nordwind Ltd by 17 May 2024.' --format table --spec \
  '{"vendor": "str", "total": "float", "currency": ["EUR", "USD", "GBP"], "due": "date"}'
