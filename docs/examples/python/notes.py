"""Writes a note into PostgreSQL and reads all of them back.

Nothing in it knows of Varve: it connects as libpq does, by the environment
variables PGHOST, PGPORT, PGUSER and PGDATABASE.
"""

import psycopg2

connection = psycopg2.connect("")
with connection.cursor() as cursor:
    cursor.execute("SELECT version()")
    print(cursor.fetchone()[0])
    cursor.execute("CREATE TABLE IF NOT EXISTS notes (id serial PRIMARY KEY, body text NOT NULL)")
    cursor.execute("INSERT INTO notes (body) VALUES (%s)", ("hello from Python",))
connection.commit()

with connection.cursor() as cursor:
    cursor.execute("SELECT body FROM notes ORDER BY id")
    notes = [body for (body,) in cursor.fetchall()]
print(f"{len(notes)} note{'s' if len(notes) > 1 else ''}, the last one: {notes[-1]}")
connection.close()
