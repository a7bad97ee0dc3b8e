"""Every alert has a section in docs/runbook.md, and every alert section has an alert."""

import re

from tests.conftest import ROOT
from tests.deploy.monitoring import alerts, dashboard, panels

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
SECTION = re.compile(r"^## (Cogenre\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    assert [name for name, _ in SECTION.findall(RUNBOOK)] == list(alerts())


def test_every_alert_links_to_its_section() -> None:
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_every_section_has_the_severity_and_what_to_do() -> None:
    for name, section in SECTION.findall(RUNBOOK):
        urgency, _ = re.match(r"\s*\*(\w+)\.\*(.*)", section).groups()  # type: ignore[union-attr]
        assert urgency.lower() == alerts()[name]["labels"]["severity"], name
        assert re.search(r"^Do[:,]", section, re.MULTILINE), name


def test_links_within_the_page_point_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert not {link for link in re.findall(r"\]\(#([^)]+)\)", RUNBOOK) if link not in anchors}


def test_panels_that_the_page_names_exist() -> None:
    titles = {panel["title"] for panel in panels(dashboard("operators"))}
    named = re.findall(r'panel "([^"]+)"', RUNBOOK)
    assert len(named) >= 4
    assert set(named) <= titles
