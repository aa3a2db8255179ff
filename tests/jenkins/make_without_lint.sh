#!/bin/sh
# Stands in for `make` where a test is about what comes after lint.
case $1 in
    lint-* | fast-tests) ;;
    *) exec /usr/bin/make "$@" ;;
esac
