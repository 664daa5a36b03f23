"""The 405 that lists the methods of a resource."""

from reactor.web.semantics.methods import method_not_allowed


def test_the_methods_are_in_alphabetical_order_in_field_and_sentence() -> None:
    error = method_not_allowed({"PUT", "GET", "HEAD"})
    assert error.status == 405
    assert error.headers == [("Allow", "GET, HEAD, PUT")]
    assert error.reason == "The method is not allowed here. Allowed methods: GET, HEAD, PUT."
