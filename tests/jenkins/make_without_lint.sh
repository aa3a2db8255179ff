#!/bin/sh
# Stands in for `make` where a test is about what comes after lint; FAILING is a report of tests that failed.
case $1 in
    lint-*) ;;
    fast-tests)
        if [ -n "$FAILING" ]; then
            mkdir -p build/tests
            echo "$FAILING" >build/tests/junit.xml
            exit 2
        fi
        ;;
    *) exec /usr/bin/make "$@" ;;
esac
