import pytest
from result_factory import make_spec, write_run
from state_factory import at_work, write_going

import metabench


def test_the_status_is_a_value(tmp_path):
    write_run(tmp_path, make_spec("maml"))
    with at_work(write_going(tmp_path, make_spec("<b>"), [{"step": 5, "loss": 1.5}])):
        found = metabench.status(tmp_path)
    assert isinstance(found, metabench.StatusView)
    assert found.under_way
    assert found.problems == ()
    frame = found.to_frame()
    assert frame["state"].tolist() == ["running", "done"]
    assert frame["meta_steps"].tolist() == [5, 10]
    assert "1 running, 1 done" in " ".join(str(found).split())
    html = found._repr_html_()
    assert html.count("<tr>") == 3
    assert "&lt;b&gt;" in html
    assert "<td><b>" not in html
    assert found.to_dict()["counts"] == {"running": 1, "done": 1}


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(metabench.DataError, match="There is no run"):
        metabench.status(tmp_path)
