"""The same peer on PostgreSQL, with Flask-SQLAlchemy as its documentation sets it up."""

import os
from datetime import datetime

from flask import Flask, g, render_template, session, url_for
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)


class Post(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    created: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    title: Mapped[str]
    body: Mapped[str]
    author: Mapped[User] = relationship()

    @property
    def username(self):
        return self.author.username


app = Flask(__name__)
app.secret_key = "dev"
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BLOG"]
db.init_app(app)


@app.before_request
def load_user():
    user = session.get("user_id")
    g.user = None if user is None else db.session.get(User, user)


@app.get("/")
def index():
    query = db.select(Post).options(joinedload(Post.author)).order_by(Post.created.desc())
    return render_template("list.html", posts=db.session.scalars(query).all())


@app.get("/<int:id>/update")
def update(id):
    return url_for("update", id=id)


def fill(posts):
    """Make a blog with so many posts."""
    with app.app_context():
        db.create_all()
        db.session.add(User(username="writer"))
        db.session.flush()
        db.session.add_all(
            Post(author_id=1, title=f"post {number}", body="lorem ipsum " * 4) for number in range(posts)
        )
        db.session.commit()
