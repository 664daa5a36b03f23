"""The demo, and an example of an application: `python -m handlers` serves it.

app.py puts the routes together; landing.py, echo.py, user_agent.py and news.py have the endpoints;
pages/ has the landing page. The files at /files/ are no code of this application: the option
`--directory` of the command line serves them.

    python -m handlers --port 4221 --directory files
    python -m reactor --reload handlers:app
"""

from handlers.app import app

__all__ = ["app"]
