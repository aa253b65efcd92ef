import errno
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from full_disk import full_disk
from result_factory import make_spec, of_installed_learner, write_run
from typer.testing import CliRunner

import metabench
from metabench.cli.report import report
from metabench.errors import DataError, UsageError
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog

GOLDEN = Path(__file__).parents[2] / "golden"
RECORDS = GOLDEN / "records"

app = typer.Typer()
app.command()(report)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A copy of the golden records that a test may damage."""
    shutil.copytree(RECORDS, tmp_path / "records")
    return tmp_path / "records"


def test_prints_a_plain_table_by_default():
    result = run(RECORDS)
    assert result.exit_code == 0
    assert result.stdout == (GOLDEN / "report.table").read_text(encoding="utf-8")
    assert result.stderr == ""


@pytest.mark.parametrize("format", ["table", "md", "tex", "csv", "json"])
def test_prints_each_format(format):
    text = (GOLDEN / f"report.{format}").read_text(encoding="utf-8")
    assert in_ten_digits(run(RECORDS, "--format", format).stdout) == in_ten_digits(text)


def in_ten_digits(text: str) -> str:
    """Long numbers rounded: versions of scipy differ in the last digits of a quantile."""
    return re.sub(r"\d+\.\d{9,}", lambda found: f"{float(found[0]):.10g}", text)


def test_the_directory_is_results_by_default(tmp_path, monkeypatch):
    shutil.copytree(RECORDS, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert run("-f", "md").stdout == (GOLDEN / "report.md").read_text(encoding="utf-8")


def test_writes_to_a_file(tmp_path):
    result = run(RECORDS, "--format", "tex", "-o", tmp_path / "table.tex")
    assert result.stdout == ""
    assert (tmp_path / "table.tex").read_bytes() == (GOLDEN / "report.tex").read_bytes()


def test_a_hyphen_is_stdout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(RECORDS, "-f", "csv", "-o", "-").stdout == run(RECORDS, "-f", "csv").stdout
    assert [*tmp_path.iterdir()] == []


def test_the_width_of_the_text_decides_how_latex_is_split():
    wide, narrow = (run(RECORDS, "-f", "tex", "--text-width", w).stdout for w in (345, 180))
    assert wide == (GOLDEN / "report.tex").read_text(encoding="utf-8")
    assert narrow.count("\\begin{tabular}") > wide.count("\\begin{tabular}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-f", "md", "--text-width", "345"), "--text-width is for LaTeX, but --format is md."),
        (("-f", "tex", "--text-width", "20"), "No table fits in a text of 20 points."),
        (("-f", "tex", "--text-width", "nan"), "No table fits in a text of nan points."),
    ],
)
def test_a_width_that_does_not_apply_is_refused(options, words):
    result = run(RECORDS, *options)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(words)


@pytest.mark.parametrize(
    ("name", "options", "head"),
    [
        ("t.tex", (), "%"),
        ("t.HTML", (), "<!doctype html>"),
        ("t.md", ("-f", "md"), "#"),
        ("t.txt", ("-f", "md"), "#"),
        ("t.txt", (), "multidataset"),
        ("t", (), "multidataset"),
    ],
)
def test_the_ending_decides_the_format(tmp_path, name, options, head):
    assert run(RECORDS, *options, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_text(encoding="utf-8").lower().startswith(head)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("x.html", ("-f", "md"), "x.html ends in .html, but --format is md"),
        ("x.pdf", (), "x.pdf ends in .pdf, which is not a format"),
    ],
)
def test_an_ending_that_does_not_fit_is_refused(tmp_path, name, options, words):
    result = run(RECORDS, *options, "-o", tmp_path / name)
    assert isinstance(result.exception, UsageError)
    assert words in result.exception.message
    assert not (tmp_path / name).exists()


def test_a_full_disk_keeps_the_old_file(tmp_path: Path):
    kept = tmp_path / "table.md"
    kept.write_text("old")
    with full_disk(50):
        result = run(RECORDS, "-o", kept)
    assert isinstance(result.exception, UsageError)
    assert "File too large" in result.exception.message
    assert result.exception.hint == "Free some space there."
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]


def test_a_file_that_cannot_be_written_is_a_usage_error(tmp_path, monkeypatch):
    result = run(RECORDS, "-o", tmp_path / "absent" / "table.md")
    assert isinstance(result.exception, UsageError)
    assert "Cannot write" in str(result.exception)
    assert result.exception.hint == "Name a file in a folder that exists."

    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", deny)
    result = run(RECORDS, "-o", tmp_path / "table.md")
    assert f"{tmp_path / 'table.md'}: Permission denied." in str(result.exception)
    assert "Ask its owner" in result.exception.hint


def test_interval_is_passed_on():
    result = run(RECORDS, "--format", "json", "--interval", "seeds")
    caption = json.loads(result.stdout)["tables"][0]["caption"]
    assert "t(0.975, n-1)" in caption


@pytest.mark.parametrize("option", [("--format", "pdf"), ("--interval", "magic")])
def test_unknown_choices_are_refused(option):
    result = run(RECORDS, *option)
    assert result.exit_code == 2
    assert option[1] in result.stderr


def test_problems_go_to_stderr_one_line_each(records):
    torn, missing, *_ = sorted(records.rglob("episodes.jsonl"))
    torn.write_text(torn.read_text()[:-5])
    missing.unlink()
    result = run(records, "--format", "json")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert json.loads(result.stdout)["problems"] == lines
    assert any(str(torn.parent) in line and "is incomplete" in line for line in lines)
    assert any(str(missing.parent) in line and "cannot be read" in line for line in lines)


def test_a_folder_without_runs_is_a_data_error(tmp_path):
    result = run(tmp_path)
    assert isinstance(result.exception, DataError)
    assert "metabench run" in result.exception.hint


def test_a_folder_without_finished_runs_names_them_and_is_a_data_error(records):
    for path in records.rglob("run.json"):
        path.write_text(path.read_text().replace('"status": "done"', '"status": "failed"'))
    result = run(records)
    assert isinstance(result.exception, DataError)
    assert len(result.stderr.splitlines()) == len([*records.rglob("run.json")])
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("variable", "plain"), [("UNSET", False), ("NO_COLOR", True), ("CI", True)]
)
def test_a_terminal_gets_bold_unless_it_asks_for_plain(variable, plain):
    """In a real terminal of 100 columns."""
    code = f"from metabench.cli.report import report; report({str(RECORDS)!r})"
    ours, theirs = pty.openpty()
    inherited = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "CI"}}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**inherited, variable: "1", "TERM": "xterm", "COLUMNS": "100"},
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.stderr == b""
    assert ("\x1b[1m" in shown) != plain
    assert "47.50" in shown


def test_runs_are_selected_and_columns_arranged():
    options = ("--learner", "reptile,maml", "--suite", "multidataset", "--seed", "0..1")
    result = run(RECORDS, *options, "--columns", "average", "--sort", "average", "-f", "json")
    (table,) = json.loads(result.stdout)["tables"]
    assert table["suite"] == "multidataset"
    assert table["columns"] == ["average"]
    assert [row["learner"] for row in table["rows"]] == ["maml", "reptile"]
    said = "Only runs with learner reptile or maml, suite multidataset, seed 0 or 1 are shown."
    assert table["caption"].startswith(said)
    assert said.rstrip(".") in " ".join(run(RECORDS, *options).stdout.split())
    view = metabench.report(
        RECORDS,
        learner=["reptile", "maml"],
        suite="multidataset",
        seed=[0, 1],
        columns="average",
        sort="average",
    )
    assert view._rendered("json") == result.stdout


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--learner", "malm"), "Unknown learner 'malm'", "Did you mean maml?"),
        (("--suite", "toy"), "Unknown suite 'toy'", "Known: multidataset, toy-regression."),
        (("--seed", "9"), "Unknown seed '9'", "Known: 0, 1."),
        (("--columns", "brid"), "Unknown column 'brid'", "Did you mean bird?"),
        (("--sort", "averag"), "Unknown column 'averag'", "Did you mean average"),
        (("--seed", "x"), "--seed 'x' is not a list of seeds", "Examples"),
        (("--learner", ","), "--learner names nothing", "separated by commas"),
        (
            ("--suite", "multidataset", "--budget", "paper"),
            "No finished run here has suite multidataset, budget paper",
            "multidataset @ 5w1s (learner maml, reptile; budget lite; seed 0, 1)",
        ),
        (("--columns", "bird", "-f", "html"), "The page shows all columns", "another --format"),
    ],
)
def test_a_selection_of_what_there_is_not_is_a_sentence(options, message, hint):
    result = run(RECORDS, *options)
    assert isinstance(result.exception, UsageError)
    assert message in result.exception.message
    assert hint in result.exception.hint


def test_a_page_shows_the_selected_runs_and_says_so():
    text = run(RECORDS, "--learner", "reptile", "-f", "html").stdout
    assert "records (learner reptile)" in text
    assert ">maml" not in text


def test_wide_and_full_print_everything():
    wide = run(RECORDS, "--wide").stdout
    assert wide.count("Stamps") == 2
    full = " ".join(run(RECORDS, "--caption", "full").stdout.split())
    assert "Each other row is compared with the best by the 95 % interval" in full
    assert full.count("--caption full") == 0


def test_the_module_imports_nothing_heavy():
    code = (
        "import sys, metabench.cli.report\n"
        "print({'torch', 'pandas', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_report_never_imports_torch():
    code = (
        "import sys\n"
        "from metabench.cli.report import Format, report\n"
        f"report({str(RECORDS)!r}, format=Format.csv)\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text = (GOLDEN / "report.csv").read_text(encoding="utf-8")
    assert in_ten_digits(done.stdout) == in_ten_digits(text)


@pytest.mark.parametrize(("seeds", "absent"), [((0,), "scipy"), ((0, 1), "scipy.stats")])
def test_a_report_imports_of_scipy_what_it_needs(tmp_path, seeds, absent):
    """Of one seed none, of several not what takes long to import."""
    for learner in ("maml", "reptile"):
        for seed in seeds:
            write_run(tmp_path, make_spec(learner, seed=seed))
    code = (
        "import sys\n"
        "from metabench.cli.report import Format, report\n"
        f"report({str(tmp_path)!r}, format=Format.csv)\n"
        f"assert {absent!r} not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count(",best") == 6


def toy_records(folder: Path) -> Path:
    """Runs as of the toy suite: one in full, one smoke."""
    sources = ("sine", "line", "quadratic", "harmonics")
    shape = {"suite": "toy-regression", "setting": "10-shot", "metric": "mse", "sources": sources}
    scores = [0.1 * (i % 7 + i % 4) for i in range(16)]
    params = {"inner_lr": 0.001}  # the suite's
    catalog = load_catalog()
    shape["suite_version"] = load_suite(catalog.suite("toy-regression")).version
    maml = make_spec("maml", budget="paper", params=params, **shape)
    write_run(folder, of_installed_learner(maml, catalog), scores)
    write_run(folder, make_spec("hsml", budget="smoke", **shape), scores, stamps=("smoke",))
    return folder


def test_paper_lays_the_runs_beside_a_table(tmp_path):
    result = run(toy_records(tmp_path), "--paper", "m-nas/table-1", "-f", "json")
    assert result.exit_code == 0
    (table,) = json.loads(result.stdout)["tables"]
    methods = [row["method"] for row in table["rows"]]
    assert methods[:2] == ["MAML", "MT-Net"]
    assert methods[-1] == "hsml"
    maml, *_, hsml = table["rows"]
    assert maml["cells"]["average"]["printed"]["text"] == "1.941 ± 0.376"
    assert maml["cells"]["average"]["verdict"]["outcome"] == "differs"
    assert hsml["in_paper"] is False
    assert hsml["ours"][0]["stamps"] == ["smoke"]


def test_paper_in_latex(tmp_path):
    shown = run(toy_records(tmp_path), "--paper", "m-nas/table-1", "-f", "tex").stdout
    printed = r"\textcolor{gray}{1.941} & \textcolor{gray}{$_{\pm 0.376}$}"
    assert all(part in shown for part in (printed, "differs", "MUMOMAML", "smoke"))


@pytest.mark.parametrize("format", ["table", "md", "csv"])
def test_paper_in_the_other_formats(tmp_path, format):
    arguments = (toy_records(tmp_path), "--paper", "m-nas/table-1", "-f", format)
    result = run(*arguments)
    assert result.exit_code == 0
    shown = result.stdout
    assert all(part in shown for part in ("1.941 ± 0.376", "differs", "MUMOMAML", "smoke"))
    assert run(*arguments).stdout == result.stdout


def test_paper_over_a_terminal_or_a_file_is_the_same_table(tmp_path):
    folder = toy_records(tmp_path / "records")
    shown = run(folder, "--paper", "m-nas/table-1", "-f", "md").stdout
    run(folder, "--paper", "m-nas/table-1", "-f", "md", "-o", tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == shown


def test_an_unknown_paper_gets_the_nearest():
    result = run(RECORDS, "--paper", "m-nas/table-l")
    assert isinstance(result.exception, UsageError)
    assert "'m-nas/table-l'" in str(result.exception)
    assert "m-nas/table-1" in result.exception.hint


def test_runs_that_a_paper_does_not_concern_leave_it_without_ours():
    result = run(RECORDS, "--paper", "m-nas/table-3", "-f", "json")
    (table,) = json.loads(result.stdout)["tables"]
    assert all(row["ours"] == [] for row in table["rows"])
    assert table["reasons"] == []


def test_a_selected_learner_without_a_run_is_named_on_stderr(tmp_path):
    for learner, suite in (("maml", "omniglot"), ("reptile", "toy")):
        write_run(tmp_path, make_spec(learner, suite=suite))
    result = run(tmp_path, "--suite", "omniglot", "--learner", "maml,reptile")
    assert result.exit_code == 0
    assert "Learner reptile has no run here with suite omniglot." in result.stderr
    assert "no run" not in result.stdout


def test_commands_are_printed_row_by_row():
    result = run(RECORDS, "--learner", "maml", "--suite", "multidataset", "--commands")
    assert result.exit_code == 0
    title, blank, name, *commands, end, warning = result.stdout.splitlines()
    assert (title, blank, end) == ("multidataset @ 5w1s", "", "")
    assert name.startswith("maml, conv4")
    assert name.endswith(", suite version 1, learner version 1, network version 1")
    assert "other versions" in warning
    records = [json.loads(path.read_text()) for path in RECORDS.rglob("run.json")]
    assert sorted(commands) == sorted(
        record["provenance"]["command"]
        for record in records
        if (record["spec"]["learner"]["name"], record["spec"]["suite"]) == ("maml", "multidataset")
    )


@pytest.mark.parametrize(
    "option",
    [
        ["--sort", "average"],
        ["-f", "md"],
        ["--paper", "m-nas/table-1"],
        ["--interval", "field"],
    ],
)
def test_commands_go_with_no_scores(option):
    result = run(RECORDS, "--commands", *option)
    assert isinstance(result.exception, UsageError)
    assert "--commands prints no scores" in str(result.exception)
