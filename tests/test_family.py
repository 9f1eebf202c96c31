import sys
from pathlib import Path

import pytest

from graphmod._family import member, members


def test_a_new_member_is_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = tmp_path / "shapes"
    family.mkdir()
    (family / "__init__.py").write_text("")
    (family / "_private.py").write_text("")
    (family / "circle.py").write_text("def circle_area(r): return 3 * r * r")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert members("shapes") == ["circle"]
    assert member("shapes", "circle", "_area")(2) == 12
    with pytest.raises(ValueError, match="there is no shapes member named 'cirle'; the nearest are 'circle'"):
        member("shapes", "cirle", "_area")
    sys.modules.pop("shapes.circle"), sys.modules.pop("shapes")
