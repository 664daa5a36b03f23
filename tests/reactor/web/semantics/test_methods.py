"""The errors of methods that a resource has not: 405 with those that it has, and 501."""

from reactor.web.semantics.methods import method_not_allowed


def test_the_methods_are_in_alphabetical_order_in_field_and_sentence() -> None:
    error = method_not_allowed("POST", {"PUT", "GET", "HEAD"})
    assert error.status == 405
    assert error.headers == [("Allow", "GET, HEAD, PUT")]
    assert error.reason == "The method is not allowed here. Allowed methods: GET, HEAD, PUT."


def test_an_unknown_method_is_not_implemented() -> None:
    for method in ("BREW", "get", "*"):
        assert method_not_allowed(method, {"GET"}).status == 501
    assert method_not_allowed("BREW", {"GET"}, {"BREW", "GET"}).status == 405
