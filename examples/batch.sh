#!/bin/sh
# A file of messages through the command line: what it would take, a part of it, the rest of it.
# Usage: examples/batch.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
topics='{"topic": ["account", "card", "cash", "exchange", "fees", "payment", "transfer"]}'

batch() {
  "$python" -m typedllm batch examples/data/messages.csv --id id --column text --type "$topics" "$@"
}

echo '# Rows, tokens and cost, and what is enforced; nothing is asked.'
batch --dry-run --max-tokens 30

echo '# The first hundred. What comes of each row is in the journal before it is reported.'
batch --limit 100 --journal "$folder/run.db" --out "$folder/topics.csv"

echo '# All of them: those that are in the journal are not asked again.'
batch --journal "$folder/run.db" --out "$folder/topics.csv"
head -n 4 "$folder/topics.csv"

echo '# The journal can be looked into at any time, also while a batch runs.'
"$python" -m typedllm journal status "$folder/run.db"
"$python" -m typedllm journal export "$folder/run.db" --out "$folder/rows.jsonl"
