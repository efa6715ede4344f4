from __future__ import annotations

from samclip_sdk.system.recent import Recent


def test_the_least_recently_used_is_forgotten_first() -> None:
    recent: Recent[str] = Recent(limit_bytes=10)
    for key in "abc":
        recent.put(key, key.upper(), size_bytes=4)
        recent.get("a")
    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]
    recent.put("large", "L", size_bytes=99)
    assert (len(recent), recent.held_bytes, recent.get("large")) == (1, 99, "L")
    recent.put("large", "M", size_bytes=3)
    assert recent.held_bytes == 3
