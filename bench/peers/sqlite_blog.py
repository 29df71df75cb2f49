"""A peer of the start page: posts in a list, as Flask's tutorial has them, from SQLite with a connection a request."""

import os
import sqlite3

from flask import Flask, g, render_template, session, url_for

app = Flask(__name__)
app.secret_key = "dev"


def connect():
    if "db" not in g:
        g.db = sqlite3.connect(os.environ["BLOG"], detect_types=sqlite3.PARSE_DECLTYPES)
        g.db.row_factory = sqlite3.Row
    return g.db


@app.teardown_appcontext
def close(_):
    db = g.pop("db", None)
    if db is not None:
        db.close()


@app.before_request
def load_user():
    user = session.get("user_id")
    query = "SELECT id, username FROM user WHERE id = ?"
    g.user = None if user is None else connect().execute(query, (user,)).fetchone()


@app.get("/")
def index():
    posts = connect().execute(
        "SELECT post.id, title, body, created, author_id, username FROM post"
        " JOIN user ON user.id = author_id ORDER BY created DESC"
    )
    return render_template("list.html", posts=posts.fetchall())


@app.get("/<int:id>/update")
def update(id):
    return url_for("update", id=id)


def fill(posts):
    """Make a blog with so many posts."""
    with sqlite3.connect(os.environ["BLOG"]) as db:
        db.executescript(
            "CREATE TABLE user (id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT UNIQUE NOT NULL);"
            "CREATE TABLE post (id INTEGER PRIMARY KEY AUTOINCREMENT, author_id INTEGER NOT NULL,"
            " created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, title TEXT NOT NULL, body TEXT NOT NULL);"
            "INSERT INTO user (username) VALUES ('writer');"
        )
        rows = [(f"post {number}", "lorem ipsum " * 4) for number in range(posts)]
        db.executemany("INSERT INTO post (author_id, title, body) VALUES (1, ?, ?)", rows)
