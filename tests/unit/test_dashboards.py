"""The dashboards of Grafana: their form, and the series that they name."""

from ruamel.yaml import YAML

from tests.support.alert_rules import find_selectors, read_rules
from tests.support.dashboards import DIRECTORY, read_dashboards, read_panels


def test_each_topic_has_a_dashboard() -> None:
    assert set(read_dashboards()) == {"overview", "release", "ingest", "retraining", "provenance"}


def test_dashboards_use_the_provisioned_source_and_cannot_be_changed() -> None:
    (source,) = YAML(typ="safe").load(
        DIRECTORY / "provisioning" / "datasources" / "prometheus.yml"
    )["datasources"]
    (provider,) = YAML(typ="safe").load(DIRECTORY / "provisioning" / "dashboards" / "marquee.yml")[
        "providers"
    ]
    assert not source["editable"]
    assert not provider["allowUiUpdates"]
    uids = set()
    for name, dashboard in read_dashboards().items():
        uids.add(dashboard["uid"])
        assert not dashboard["editable"]
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids), name
        for panel in dashboard["panels"]:
            assert panel["description"].endswith("."), panel["title"]
            sources = [panel["datasource"], *(t["datasource"] for t in panel["targets"])]
            assert {one["uid"] for one in sources} == {source["uid"]}
    assert len(uids) == len(read_dashboards())


def test_panels_do_not_overlap() -> None:
    for name, dashboard in read_dashboards().items():
        cells = [
            (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
            for panel in dashboard["panels"]
            for x in range(panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["h"])
        ]
        assert len(set(cells)) == len(cells), name
        assert max(x for x, _ in cells) < 24, name


def test_recorded_series_of_panels_are_recorded() -> None:
    recorded = {rule["record"] for rule in read_rules() if "record" in rule}
    names = {
        selector.partition("{")[0]
        for panel in read_panels()
        for query in panel.queries
        for selector in find_selectors(query)
    }
    assert {name for name in names if ":" in name} <= recorded
