"""SQLAlchemy against Thalweg: the reflection of every object, over psycopg and psycopg2; the ORM.

Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error. Usage: client.py PORT
"""

import sys

import sqlalchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[int]
    amount: Mapped[float] = mapped_column(sqlalchemy.Numeric(12, 2))


def reflect(engine):
    look = sqlalchemy.inspect(engine)
    assert look.default_schema_name == "public"
    assert "public" in look.get_schema_names()
    assert {"customers", "orders"} <= set(look.get_table_names()), look.get_table_names()
    assert look.get_view_names() == ["order_names"], look.get_view_names()
    assert look.get_materialized_view_names() == ["totals"], look.get_materialized_view_names()
    assert "JOIN customers" in look.get_view_definition("order_names")
    assert look.has_table("totals") and not look.has_table("nosuch")
    assert look.get_pk_constraint("orders")["constrained_columns"] == ["id", "line"], look.get_pk_constraint("orders")
    assert look.get_unique_constraints("customers")[0]["column_names"] == ["email"]
    assert "balance" in look.get_check_constraints("customers")[0]["sqltext"]
    assert look.get_foreign_keys("orders") == []
    indexes = {index["name"]: index for index in look.get_indexes("orders")}
    assert indexes["orders_customer"]["column_names"] == ["customer"], indexes
    assert indexes["orders_customer"]["column_sorting"] == {"customer": ("desc",)}, indexes
    assert look.get_table_comment("customers") == {"text": "who buys"}
    assert look.get_sequence_names() == [] and look.get_enums() == [] and look.get_domains() == []
    columns = {column["name"]: column for column in look.get_columns("customers")}
    assert str(columns["balance"]["type"]) == "NUMERIC(10, 2)" and str(columns["name"]["type"]) == "VARCHAR(40)"
    assert columns["name"]["default"] == "'nobody'::character varying" and not columns["name"]["nullable"], columns
    assert columns["email"]["comment"] == "may be null"
    assert str(columns["tags"]["type"]) == "ARRAY" and columns["at"]["type"].timezone
    everything = sqlalchemy.MetaData()
    everything.reflect(engine, views=True)
    for name in look.get_table_names() + look.get_view_names():
        assert [c.name for c in everything.tables[name].columns] == [c["name"] for c in look.get_columns(name)], name
    assert list(everything.tables["orders"].primary_key.columns.keys()) == ["id", "line"]


def change(engine):
    with Session(engine) as session:
        session.add_all([Order(id=70 + n, line=1, customer=1, amount=n) for n in range(5)])
        session.commit()
        found = session.scalars(sqlalchemy.select(Order).where(Order.id >= 70).order_by(Order.id)).all()
        assert [order.id for order in found] == [70, 71, 72, 73, 74]
        found[0].amount = 9
        session.commit()
        session.execute(sqlalchemy.delete(Order).where(Order.id >= 70))
        session.commit()


def main():
    for driver in ["psycopg", "psycopg2"]:
        engine = sqlalchemy.create_engine(f"postgresql+{driver}://tester@127.0.0.1:{sys.argv[1]}/thalweg")
        reflect(engine)
        change(engine)
        engine.dispose()
    print("ok")


main()
