"""The command line: ``nnvocab find gqa``, ``nnvocab list attention``, ``nnvocab show gqa``, ``nnvocab build model.yml``."""

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
    build = commands.add_parser("build", help="build the model of a manifest and say what it is made of")
    build.add_argument("manifest", help="a YAML file")
    build.add_argument("--summary", action="store_true", help="print shapes, parameters, and the cache's bytes a token")
    build.add_argument("--depth", type=int, default=3, help="levels of parts that the summary lists (3)")
    build.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value for a variable")
    given = parser.parse_args(argv)

    from nnvocab import cards, vocabulary

    try:
        if given.command == "build":
            _build(given)
        elif given.command == "list":
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
    except FileNotFoundError as error:
        print(f"nnvocab: there is no file {error.filename!r}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"nnvocab: cannot read {error.filename!r}: {error.strerror}", file=sys.stderr)
        return 2
    except (KeyError, ValueError) as error:
        print(f"nnvocab: {error.args[0]}", file=sys.stderr)
        return 2
    return 0


def _build(given: argparse.Namespace) -> None:
    """Build a model and print what it is."""
    import yaml

    from nnvocab.compose import build_model, example_input, summarize

    pairs = [text.partition("=") for text in given.set]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError(f"--set takes NAME=VALUE; given: {' '.join(given.set)}")
    variables = {name: yaml.safe_load(value) for name, _, value in pairs}
    model = build_model(given.manifest, variables)
    if not given.summary:
        print(model)
        return
    x = example_input(given.manifest, variables)
    print(summarize(model, *([] if x is None else [x]), depth=given.depth))
    if x is None:
        print("shapes are left out: the manifest has no input, such as input: {shape: [1, 16, 64]}")


if __name__ == "__main__":
    raise SystemExit(main())
