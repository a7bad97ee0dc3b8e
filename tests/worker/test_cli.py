"""Invalid input to every command: one line with the problem and the remedy, exit code 2, no traceback."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis
from onnxruntime import get_available_providers
from sqlalchemy import Engine, text

from media.errors import DecoderFault, MediaError
from tests.audio import encode, tone
from tests.conftest import DEMO_BUNDLE
from tests.worker.jobs import count
from worker.cli import main
from worker.cli.classify import ERROR_CODES, error_code
from worker.local.stack import LocalStack


class Ended:
    """Exit code and output of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def cogenre(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["cogenre", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Ended(end.value.code if isinstance(end.value.code, int) else 0, out, err)

    return run


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings."""
    for name in ("CATALOG_URL", "BROKER_URL", "BUCKETS", "BUNDLE"):
        monkeypatch.delenv(f"COGENRE_{name}", raising=False)


def assert_refused(ended: Ended, message: str) -> None:
    assert ended.code == 2, ended.err
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [["worker"], ["status"], ["enqueue", "-"], ["catalog", "migrate"], ["catalog", "search"]],
    ids=lambda command: " ".join(command),
)
def test_missing_settings_are_named(cogenre: Any, bare: None, command: list[str]) -> None:
    ended = cogenre(*command)
    assert_refused(ended, "COGENRE_")
    assert "cogenre local" in ended.err


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("COGENRE_CATALOG_URL", "nonsense", "is not a URL"),
        ("COGENRE_CATALOG_URL", "mysql://u:p@127.0.0.1/x", "the catalog needs PostgreSQL"),
        ("COGENRE_CATALOG_URL", "postgresql://u:hushhush@127.0.0.1:9/x", "cannot be used: connection failed"),
        ("COGENRE_CATALOG_URL", "postgresql://u:p@127.0.0.1:port/x", "is not a URL"),
        ("COGENRE_S3_ENDPOINT_URL", "nonsense", "COGENRE_S3_ENDPOINT_URL: Invalid endpoint: nonsense"),
        ("COGENRE_BROKER_URL", "redis://:hushhush@127.0.0.1:9/0", "the broker does not answer"),
        ("COGENRE_BROKER_URL", "nonsense", "is not a URL"),
        ("COGENRE_BUNDLE", "/nowhere", "no bundle at /nowhere"),
        ("COGENRE_PROVIDER", "cuda", "COGENRE_PROVIDER=cpu"),
        ("COGENRE_PROVIDER", "quantum", "COGENRE_PROVIDER"),
        ("COGENRE_PRECISION", "fp16", "has no fp16 graph"),
        ("COGENRE_BUCKETS", "", "COGENRE_BUCKETS"),
        ("COGENRE_BUCKETS", "no-such-bucket", "bucket no-such-bucket does not exist"),
        ("COGENRE_WINDOWS", "99", "COGENRE_BATCH_ROWS to 99"),
        ("COGENRE_BATCH_TOKENS", "8", "COGENRE_BATCH_TOKENS to"),
        ("COGENRE_CONCURRENCY", "0", "COGENRE_CONCURRENCY"),
        ("COGENRE_DEPLOYMENT", "a b", "COGENRE_DEPLOYMENT"),
    ],
)
def test_a_worker_that_cannot_start_prints_the_reason(
    cogenre: Any,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(setting, value)
    ended = cogenre("worker")
    assert_refused(ended, message)
    assert "hushhush" not in ended.err


def test_a_catalog_without_migrations_is_reported(
    cogenre: Any, environment: dict[str, str], stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGENRE_CATALOG_URL", stack.catalog_url)
    assert_refused(cogenre("status"), "run `cogenre catalog migrate`")


def test_migrate_is_repeatable(cogenre: Any, environment: dict[str, str]) -> None:
    ended = cogenre("catalog", "migrate")
    assert ended.code == 0
    assert "catalog at revision" in ended.out


GOOD = {"track_id": "t1", "audio": {"bucket": "music", "key": "t1.mp3"}}


def test_enqueue_registers_and_publishes_a_file(
    cogenre: Any, environment: dict[str, str], catalog: Engine, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("\n\n".join(json.dumps(GOOD | {"track_id": f"t{at}"}) for at in range(1200)))
    assert cogenre("enqueue", str(jobs)).code == 0
    assert count(catalog, "track") == 1200
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    assert broker.llen("tracks") == 1200
    ended = cogenre("status")
    assert ended.code == 0
    assert "1,200" in ended.out


def test_enqueue_one_track(
    cogenre: Any, environment: dict[str, str], catalog: Engine, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("la la")
    ended = cogenre("enqueue", "--track-id", "one", "--audio", "s3://music/a/b.mp3", "--lyrics", str(words))
    assert ended.code == 0
    assert count(catalog, "track where job->'lyrics'->>'text' = 'la la'") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either"),
        (["x.jsonl", "--track-id", "t"], "give either"),
        (["--track-id", "t"], "needs --audio"),
        (["--track-id", "t", "--audio", "http://x/y"], "is not the URL of an object: write s3://bucket/key"),
        (
            ["--track-id", "t", "--audio", "s3://music/k", "--lyrics", "/nowhere.txt"],
            "cannot read the lyrics /nowhere.txt",
        ),
        (["/nowhere.jsonl"], "cannot read /nowhere.jsonl"),
        (["--track-id", "", "--audio", "s3://music/k"], "track_id: String should have at least 1 character"),
        (["--track-id", "t", "--audio", "s3://x/k"], "audio.bucket"),
        (["s3://music/", "--pattern", "("], "--pattern is not a regular expression"),
        (["s3://music/", "--pattern", "x"], "--pattern has no group"),
    ],
)
def test_enqueue_fails(cogenre: Any, environment: dict[str, str], arguments: list[str], message: str) -> None:
    assert_refused(cogenre("enqueue", *arguments), message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3 is not JSON"),
        ("[1]", "line 3 is not a JSON object"),
        ('{"track_id": "x"}', "line 3: audio: field required"),
        (json.dumps(GOOD | {"colour": "red"}), "line 3: colour"),
    ],
)
def test_enqueue_names_the_invalid_line_and_the_jobs_enqueued_before_it(
    cogenre: Any, environment: dict[str, str], catalog: Engine, tmp_path: Path, line: str, message: str
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("\n".join([json.dumps(GOOD), json.dumps(GOOD | {"track_id": "t2"}), line]))
    ended = cogenre("enqueue", str(jobs))
    assert ended.code == 2
    last = ended.err.strip().splitlines()[-1]
    assert message.lower() in last.lower()
    assert "2 jobs before it were enqueued" in last
    assert count(catalog, "track") == 2


@pytest.fixture
def full_broker(environment: dict[str, str]) -> Iterator[None]:
    broker = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    broker.config_set("maxmemory", 1)
    yield
    broker.config_set("maxmemory", 0)


@pytest.mark.usefixtures("full_broker")
def test_enqueue_reports_the_jobs_that_a_full_broker_refused(
    cogenre: Any, environment: dict[str, str], catalog: Engine, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps(GOOD))
    assert_refused(cogenre("enqueue", str(jobs)), "the broker refuses the jobs: command not allowed")
    # The reconciler finds it.
    assert count(catalog, "track where due_at is not null") == count(catalog, "track") == 1


def test_a_dry_run_checks_and_enqueues_nothing(
    cogenre: Any, environment: dict[str, str], catalog: Engine, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD))
    ended = cogenre("enqueue", "--dry-run", str(jobs))
    assert ended.code == 0
    assert "2 jobs, all valid" in ended.err
    jobs.write_text("{")
    assert_refused(cogenre("enqueue", "--dry-run", str(jobs)), "line 1 is not JSON")
    assert count(catalog, "track") == 0


def test_enqueue_can_be_repeated_after_an_interruption(
    cogenre: Any, environment: dict[str, str], catalog: Engine, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("\n".join(json.dumps(GOOD | {"track_id": f"t{at}"}) for at in range(5)))
    assert cogenre("enqueue", "--skip", "3", str(jobs)).code == 0
    assert count(catalog, "track where id in ('t3', 't4')") == count(catalog, "track") == 2


def test_enqueue_the_audio_under_a_prefix(
    cogenre: Any, environment: dict[str, str], catalog: Engine, s3: Any, bucket: str
) -> None:
    for key in ("new/a.mp3", "new/a.txt", "new/b-1.flac", "new/b.flac", "new/notes.pdf", "old/c.mp3"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert cogenre("enqueue", f"s3://{bucket}/new/").code == 0
    with catalog.connect() as connection:
        jobs = {row.id: row.job for row in connection.execute(text("select id, job from track"))}
    assert {track_id: job["audio"]["key"] for track_id, job in jobs.items()} == {
        "a": "new/a.mp3",
        "b-1": "new/b-1.flac",
        "b": "new/b.flac",
    }
    assert jobs["a"]["lyrics"]["key"] == "new/a.txt"
    assert jobs["b"]["lyrics"] is None
    cogenre("enqueue", "--after", "new/z", "--pattern", r"(?P<track_id>.+)\.mp3", f"s3://{bucket}/")
    assert count(catalog, "track where id = 'old/c'") == 1


def failed(engine: Engine, track_id: str, payload: str) -> int:
    insert = text(
        "insert into ingest_failure (track_id, stage, error_class, reason, payload) "
        "values (:id, 'fetch', 'ObjectMissing', 'is not there', :payload) returning id"
    )
    with engine.begin() as connection:
        return int(connection.execute(insert, {"id": track_id, "payload": payload}).scalar_one())


def test_failures_are_listed_shown_and_replayed(
    cogenre: Any, environment: dict[str, str], catalog: Engine
) -> None:
    job = GOOD | {"schema_version": 1, "enqueued_at": "2026-11-22T12:00:00Z"}
    first, second = failed(catalog, "t1", json.dumps(job)), failed(catalog, "t2", "{}")
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    broker.lpush(
        "cogenre.dead", json.dumps({"queue": "tracks", "reason": "odd", "at": "", "message": "eA=="})
    )
    assert "ObjectMissing" in cogenre("failures", "list").out
    listed = cogenre("failures", "list", "--json").out.splitlines()
    assert [json.loads(row)["id"] for row in listed] == [second, first]
    assert "t1.mp3" in cogenre("failures", "show", str(first)).out
    ended = cogenre("failures", "replay", "--all")
    assert "enqueued 1 of 2" in ended.out
    assert "1 are not valid jobs" in ended.out
    assert broker.llen("tracks") == 1
    assert "moved 1 dead letters" in cogenre("failures", "replay", "--dead").out
    assert broker.lindex("tracks", 0) == b"x"
    assert broker.llen("cogenre.dead") == 0


def test_failures_refuses_unknown_failures(cogenre: Any, environment: dict[str, str]) -> None:
    assert_refused(cogenre("failures", "show", "7"), "there is no open failure 7")
    assert_refused(cogenre("failures", "replay"), "nothing to replay is selected")


def test_search_for_an_unknown_genre_is_refused(cogenre: Any, environment: dict[str, str]) -> None:
    assert_refused(cogenre("catalog", "search", "--genre", "polka"), "no model has the genre polka")


def test_classify_prints_labels_and_names_files_that_are_not_audio(cogenre: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.flac", tmp_path / "bad.mp3"
    good.write_bytes(encode(tone(4), 22_050))
    bad.write_bytes(b"no audio")
    ended = cogenre("classify", "--bundle", str(DEMO_BUNDLE), "--json", str(good), str(bad))
    assert_refused(ended, "bad.mp3: not WAV, FLAC")
    row, failure = map(json.loads, ended.out.splitlines())
    assert failure["file"] == str(bad)
    assert failure["error_code"] == "unsupported_audio"
    assert failure["error"].startswith("not WAV, FLAC")
    assert row["file"] == str(good)
    assert row["seconds"] == pytest.approx(4)
    assert len(row["scores"]) == 16
    assert row["lyrics"] == "absent"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", "/nowhere", "x.mp3"], "no bundle at /nowhere"),
        (["/nowhere.mp3"], "/nowhere.mp3: No such file"),
        (["--lyrics", "x.txt", "a.mp3", "b.mp3"], "--lyrics needs a single audio file"),
        (["--lyrics", "/nowhere.txt", "a.mp3"], "cannot read the lyrics /nowhere.txt"),
    ],
)
def test_classify_refuses(cogenre: Any, bare: None, arguments: list[str], message: str) -> None:
    assert_refused(cogenre("classify", *arguments), message)


@pytest.mark.parametrize(
    ("arguments", "settings", "code"),
    [
        (["/nowhere.mp3"], {}, "unreadable_file"),
        (["--bundle", "/nowhere", "x.mp3"], {}, "invalid_bundle"),
        (["--lyrics", "/nowhere.txt", "a.mp3"], {}, "unreadable_lyrics"),
        (["x.mp3"], {"COGENRE_PRECISION": "fp7"}, "invalid_setting"),
        (
            ["x.mp3"],
            {"COGENRE_PROVIDER": "tensorrt", "COGENRE_CPU_FALLBACK": "false"},
            "provider_unavailable",
        ),
    ],
)
def test_classify_gives_each_error_a_code(
    cogenre: Any,
    bare: None,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    settings: dict[str, str],
    code: str,
) -> None:
    if code == "provider_unavailable" and "TensorrtExecutionProvider" in get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    ended = cogenre("classify", "--json", *arguments)
    (failure,) = map(json.loads, ended.out.splitlines())
    assert failure["error_code"] == code
    assert failure["error"] in ended.err


def test_every_error_of_media_has_its_own_code() -> None:
    own = {error_code(kind("")) for kind in MediaError.__subclasses__() if kind is not DecoderFault}
    assert own == {
        "empty_audio",
        "unsupported_audio",
        "corrupt_audio",
        "short_audio",
        "silent_audio",
        "unreadable_lyrics",
    }
    page = Path("docs/operate.md").read_text()
    assert [code for code in ERROR_CODES.values() if f"`{code}`" not in page] == []


@pytest.mark.parametrize("content", [None, "words.txt"], ids=["no such folder", "no audio in it"])
def test_the_demo_requires_a_folder_with_audio(cogenre: Any, tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "music"
    if content:
        folder.mkdir()
        (folder / content).write_text("words")
    assert_refused(cogenre("demo", "--audio", str(folder)), str(folder))


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["catalog", "nonsense"],
        ["worker", "--nonsense"],
        ["classify"],
        ["failures", "show", "none"],
        ["failures", "show", str(2**64)],
    ],
    ids=" ".join,
)
def test_unknown_commands_and_options_end_with_2(cogenre: Any, arguments: list[str]) -> None:
    assert_refused(cogenre(*arguments), "--help`")


def test_the_version_is_printed(cogenre: Any) -> None:
    assert cogenre("--version").out == f"cogenre {version('cogenre')}\n"
