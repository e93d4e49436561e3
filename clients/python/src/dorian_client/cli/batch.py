"""dorian batch: age many photos, with a report, and go on where an interrupted batch ended."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, Literal, cast

import click

from dorian_client._calls import ManyAges
from dorian_client._faces import Age, FaceLike, Filter
from dorian_client._files import FORMATS
from dorian_client._options import AgeOptions
from dorian_client._requests import BLENDS, BUDGETS
from dorian_client.cli.batches.bundle_engine import BundleIdentity
from dorian_client.cli.batches.engine_options import EngineOptions, with_engine
from dorian_client.cli.batches.folders import ResultFolder, open_folder
from dorian_client.cli.batches.inputs import find_photos, read_batch_photo
from dorian_client.cli.batches.ledger import Ledger
from dorian_client.cli.batches.plan import PlannedPhoto, plan_batch
from dorian_client.cli.batches.report import ReportedPhoto, write_report
from dorian_client.cli.batches.results import ResultWriter
from dorian_client.cli.batches.run import BatchRun, Tally
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.exit_codes import EXIT_REJECTED, EXIT_SERVER
from dorian_client.cli.options import (
    FACE_HELP,
    FACES,
    METHOD,
    OUTPUT,
    SERVER,
    Command,
    option,
    parse_face,
    with_ages,
    with_filters,
    with_keep_hair,
    with_keep_identity,
    with_method,
    with_source,
    with_strength,
)
from dorian_client.cli.reporting import count, format_target


@click.command(cls=Command, short_help="Age many photos, with a report; goes on where it was interrupted.")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@with_ages
@with_filters
@option(
    FACES, "--face", "faces", type=parse_face, metavar="FACE", multiple=True,
    help=f"A face of each photo to change [default: all]; repeat for several. FACE: {FACE_HELP}.",
)  # fmt: skip
@with_source
@with_method
@with_strength
@with_keep_identity
@with_keep_hair
@option(METHOD, "--blend", type=click.Choice(list(BLENDS)), help="As for 'dorian age' [default: delta].")
@option(METHOD, "--optimisation", type=click.Choice(list(BUDGETS)), help="As for 'dorian age' [default: none].")
@option(
    OUTPUT, "-o", "--out", required=True, type=open_folder, metavar="FOLDER",
    help="Where to write: a folder, which is made, or a URL such as s3://bucket/aged.",
)  # fmt: skip
@option(
    OUTPUT, "--ledger", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where to note what was done [default: in FOLDER; for a URL, in ~/.local/state/dorian].",
)  # fmt: skip
@option(OUTPUT, "--format", type=click.Choice(list(FORMATS)), help="Format of the pictures [default: each photo's].")
@option(OUTPUT, "--quality", type=click.IntRange(1, 100), help="Quality of JPEG and WebP [default: the server's].")
@option(OUTPUT, "--keep-metadata", is_flag=True, help="Keep camera, time and author of the photos' EXIF.")
@option(
    OUTPUT, "--on-error", type=click.Choice(["skip", "stop"]), default="skip", show_default=True,
    help="Whether the batch goes past a photo that fails, or ends with it.",
)  # fmt: skip
@option(
    SERVER, "--concurrency", type=click.IntRange(min=1), metavar="NUMBER",
    help="Photos sent at once at most, by each worker [default: as many as keep the server busy].",
)  # fmt: skip
@with_connection
@with_engine
def batch(
    inputs: tuple[str, ...], ages: tuple[Age, ...], filters: tuple[Filter, ...], faces: tuple[FaceLike, ...],
    out: ResultFolder, ledger: Path | None, on_error: Literal["skip", "stop"], concurrency: int | None, connection: Connection, engine: EngineOptions, **options: Any,
) -> None:  # fmt: skip
    """Age all photos of each INPUT: a file, a folder with all that is in it, a pattern ("photos/**/*.jpg"), or a URL.

    A URL, such as s3://bucket/photos or https://host/photo.jpg, needs the extra dorian-client[remote], and what fsspec
    needs for its scheme; so does a FOLDER that is a URL. Of a folder and a pattern, hidden files are left out.

    Pictures are called PHOTO-AGE, as by 'dorian age', and are where the photo is in its INPUT: photos/trip/a.jpg becomes
    FOLDER/trip/a-60+.jpg. Names that clash are told before any photo is sent.

    FOLDER also gets dorian-report.jsonl, a line for each photo, dorian-report.csv, a row for each face, and
    dorian-report.html, a page with what failed, and photos before and after.

    A batch that was interrupted, in whatever way, goes on when the same command is given again. What was done with the
    same options by the same bundle, and is still there, is not done again, and neither is what was rejected; what failed
    by fault of the server or the connection is. The ledger knows: FOLDER/.dorian-batch.sqlite, or the file of --ledger.

    With --engine ray the photos are aged by the workers of a Ray cluster, which is this machine unless there is an address: by
    a bundle that each of them holds, or by the server. The pictures are the same, byte for byte, and so are ledger and report.

    A busy server is waited for, each photo at most --timeout seconds. An error that would meet every photo ends the batch.

    The exit code is 3 if photos were rejected or could not be read, and 5 if the server failed with some.

    \b
    Examples:
      dorian batch photos/ -o aged/ --to 60+ --priority batch
      dorian batch "archive/**/*.jpg" extra.png -o aged/ --to 8 --to 60+ --format webp
      dorian batch photos/ -o aged/ --to 60+ --engine ray --ray-bundle models/default
      dorian batch s3://bucket/photos -o s3://bucket/aged --to 60+ --on-error stop
    """
    targets = [*ages, *filters]
    if not targets:
        raise click.UsageError("no target age: give --to AGE, or --filter NAME")
    photos = find_photos(inputs, out)
    planned = plan_batch(photos, out, [format_target(target) for target in targets], options["format"])
    ledger = ledger or out.ledger
    out.prepare(ledger)
    with engine.connect(connection) as served:
        settings = cast(AgeOptions, {"faces": faces or None, **options})
        calls = ManyAges(targets, settings, served.name, read_batch_photo)
        writer = ResultWriter(out, _key_of(calls, served.identity), options["quality"])
        with Ledger(ledger, out, writer.key) as opened:
            tally = Tally()
            try:
                BatchRun(served.engine(calls, writer, concurrency), planned, opened, on_error).run(tally)
            finally:
                _report(planned, tally, out, targets=targets, bundle=served.identity)
    click.get_current_context().exit(_exit_code(tally))


def _key_of(calls: ManyAges, bundle: BundleIdentity) -> str:
    """Return what stands for all options of a batch, and for the bundle."""
    options = calls.template.SerializeToString(deterministic=True)
    return hashlib.sha256(options + bundle.sha256.encode()).hexdigest()


def _report(
    planned: list[PlannedPhoto], tally: Tally, out: ResultFolder, *, targets: list[Any], bundle: BundleIdentity
) -> None:
    settings = {
        "targets": ", ".join(map(format_target, targets)),
        "bundle": f"{bundle.name} {bundle.version} ({bundle.sha256[:12]})",
        "photos": str(len(planned)),
    }
    reported = [ReportedPhoto(photo, tally.records.get(index)) for index, photo in enumerate(planned)]
    page = write_report(out, reported, settings)
    counts = Counter(str(record["status"]) for record in tally.records.values())
    left = len(planned) - len(tally.records)
    parts = [f"{counts['done']} of {count(len(planned), 'photo')} aged"]
    parts += [f"{tally.earlier} from earlier runs"] if tally.earlier else []
    parts += [f"{counts[status]} {status}" for status in ("rejected", "failed") if counts[status]]
    parts += [f"{left} left: give the same command again to go on"] if left else []
    click.echo("; ".join(parts))
    click.echo(f"wrote {click.format_filename(page)}")


def _exit_code(tally: Tally) -> int:
    records = tally.records.values()
    if any(record["status"] == "failed" and record["reason"] != "PHOTO_UNREADABLE" for record in records):
        return EXIT_SERVER
    return EXIT_REJECTED if any(record["status"] != "done" for record in records) else 0
