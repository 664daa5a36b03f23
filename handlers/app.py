"""The application: a landing page, and the endpoints of the other modules by their paths."""

from handlers.echo import echo
from handlers.landing import landing
from handlers.news import news
from handlers.user_agent import user_agent
from reactor import Application


def make_app() -> Application:
    """A new application with all routes; tests make one of their own each."""
    app = Application()
    app.takes_mounts = True  # files at /files/ are routes of this application
    app.get("/")(landing(app))
    app.get("/echo/{text:path}")(echo)
    app.get("/user-agent")(user_agent)
    app.get("/news")(news)
    return app


app = make_app()
