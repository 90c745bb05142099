"""The command line: ``nnvocab find gqa``, ``nnvocab list attention``, ``nnvocab show gqa``."""

from __future__ import annotations

import argparse
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns 0, or 2 if the name or chapter does not exist."""
    parser = argparse.ArgumentParser(prog="nnvocab", description="The executable vocabulary of neural networks.")
    commands = parser.add_subparsers(dest="command", required=True)
    for verb, text in (("find", "say where an entry is"), ("show", "print the card of an entry")):
        commands.add_parser(verb, help=text).add_argument("name", nargs="+", help="name, alias or id")
    commands.add_parser("list", help="list the entries").add_argument("chapter", nargs="?", help="only this chapter")
    given = parser.parse_args(argv)

    from nnvocab import cards, vocabulary

    try:
        if given.command == "list":
            found = vocabulary.entries(chapter=given.chapter)
            width = max(len(e.name) for e in found)
            for e in found:
                print(f"{e.name:<{width}}  {e.import_path}")
        else:
            found = vocabulary.find(" ".join(given.name))
            if given.command == "find":
                print(f"{found.name}\n  import  {found.import_path}\n  page    book/{found.chapter}/{found.page}.ipynb")
                print(f"  code    {found.code}\n  test    {found.test}")
            else:
                print(repr(cards.show(found)))
    except (KeyError, ValueError) as error:
        print(f"nnvocab: {error.args[0]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
