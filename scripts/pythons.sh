# Which Python is meant, and which one is there: for setup, test-pythons and the Makefile.

# Says yes to a CPython from 3.11 up to and without the version that is given.
is_between() { # PYTHON, MINOR
    "$1" -c "import sys
sys.exit(not (3, 11) <= sys.version_info < (3, $2) or sys.implementation.name != 'cpython')" \
        >/dev/null 2>&1
}

is_of_version() { # PYTHON, VERSION
    "$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" >/dev/null 2>&1
}

# Says yes to two names of one Python, an environment's among them.
is_the_same() {
    said=$("$1" -c 'import sys; print(sys.version)' 2>/dev/null) &&
        [ "$said" = "$("$2" -c 'import sys; print(sys.version)' 2>/dev/null)" ]
}

# Prints what can be run for a name: pyenv puts a `python3.13` on the PATH that refuses to run unless
# that version is also switched on.
resolve() { # NAME
    case $1 in
    python3.[0-9]*)
        for candidate in "$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/${1#python}".*/bin/python \
            "/usr/bin/$1"; do
            if is_of_version "$candidate" "${1#python}"; then
                echo "$candidate"
                return
            fi
        done
        ;;
    esac
    echo "$1"
}
