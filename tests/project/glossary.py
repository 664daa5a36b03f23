"""The words of the project: one for each concept, and the words that they stand in for."""

from typing import Final

# A word that is not written, and what is written in its place. Each is a regular expression
# without regard to case; it is looked for in prose (docstrings, comments, help texts, pages).
PROSE: Final = {
    "folders?": "directory",
    "answers?": "response, or responds",
    "coded": "encoded",
    "(?:is|are|was|were|be|been|being|gets?|got) told": "raises, returns, logs, calls",
    "tells?": "raises, returns, logs, calls, says",
    "who ?ever|whomever": "a noun: the client, the caller",
    "whatever": "a noun, or 'any'",
    "kept connections?": "keep-alive connection",
    "give(?:s|n)? way|gave way": "evict",
    "wish(?:es)?": "operation",
    "ledgers?": "quota",
    "newcomers?": "connections accepted last",
}

# The same for the parts of a name that the project defines: `answer_head`, `AnswerHead`.
NAMES: Final = {
    "folder": "directory",
    "folders": "directories",
    "answer": "response",
    "answers": "responses",
    "answered": "responded",
    "coded": "encoded",
    "told": "raised, returned, logged",
    "tells": "raises, returns, logs",
    "whoever": "a noun",
    "whatever": "a noun",
    "wish": "operation",
    "wishes": "operations",
    "ledger": "quota",
    "newcomer": "connection",
    "newcomers": "connections",
}

# A sentence that begins with one of these has no noun for its subject.
HEADLESS: Final = frozenset(
    ("who", "whoever", "whose", "whom", "whomever", "whatever", "what", "of", "nor", "none")
)
