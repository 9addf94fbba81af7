#!/bin/sh
# Makes a repository from examples/shop and resolves its issue 1. Arguments: project folder, model.
set -eu
project=$1
model=$2
place="$project/demo"
rm -rf "$place"
mkdir -p "$place"
cp -R "$project/examples/shop" "$place/shop"
cd "$place/shop"
git init --quiet --initial-branch=main
git add --all
git -c user.name=demo -c user.email=demo@localhost commit --quiet --message "A small shop"
echo "\$ orchestrate issue 1"
status=0
"$project/.venv/bin/orchestrate" issue 1 --model "$model" --state "$place/state" || status=$?
echo
echo "\$ git log --oneline --stat main..feature/1-a-cart-of-exactly-100-gets-no-discount"
git log --oneline --stat main..feature/1-a-cart-of-exactly-100-gets-no-discount 2>/dev/null || true
exit "$status"
