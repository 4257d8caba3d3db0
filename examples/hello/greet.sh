#!/bin/sh
# One greeting for each name on standard input.
while read -r name; do
	echo "$1, $name!"
done
