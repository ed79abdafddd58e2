"""`gardener token`: access to the API for editors and scripts. A token is shown once and stored only as its hash."""

from __future__ import annotations

from gardener.cli.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_token(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener token create editor       prints the token, once
  gardener token list
  gardener token revoke editor
"""
    parser.add_argument("action", choices=("create", "list", "revoke"), metavar="ACTION", help="create, list or revoke")
    parser.add_argument("name", nargs="?", metavar="NAME", help="what the token is for")
    parser.set_defaults(run=token)


def token(args: argparse.Namespace, console: Console) -> int:
    from gardener.errors import UsageError
    from gardener.paths import Paths, ensure_directory
    from gardener.server.access import Access

    paths = Paths(console.home)
    ensure_directory(paths.run)
    access = Access(paths.run, launch_token="")
    if args.action != "list" and not args.name:
        raise UsageError(f"Which token? {args.action} needs a NAME.", next_step=f"gardener token {args.action} editor")
    if args.action == "create":
        secret = access.create_client(args.name)
        if console.as_json:
            console.json({"name": args.name, "token": secret})
        else:
            console.line(secret)
            console.note("This is the only time that it is shown. End it with: gardener token revoke " + args.name)
    elif args.action == "revoke":
        access.revoke(args.name)
        if console.as_json:
            console.json({"revoked": args.name})
        else:
            console.line(f"'{args.name}' no longer opens anything.")
    else:
        entries = [{"id": entry.id, "name": entry.name, "created": entry.created} for entry in access.clients()]
        if console.as_json:
            console.json({"tokens": entries})
        elif entries:
            console.table([{"id": str(entry["id"]), "name": str(entry["name"])} for entry in entries], ["id", "name"])
        else:
            console.note("No tokens yet: gardener token create NAME")
    return 0
