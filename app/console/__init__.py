"""The console: pages for operators, rendered on the server.

What is read, in the background (`sources` runs it, `console` names all of it):

- `prometheus` with the queries of `queries`; `records` and `exposure` from the database;
  `release_state`, with `recorded_queries` and `pictures`, from the files of releases;
  `retraining_state` from the scheduler; `runbook` from the documentation.

What is shown (`server` is the web application and its process):

- `pages` has the routes of the pages that only read, `look_ups` what Find waits for, `overview`
  what is wrong now; `text` writes values; `templates` and `static` are the pages themselves.

What acts, where there is a token:

- `action_pages` has the routes, `confirmation` decides who may act, `orders` writes what was
  confirmed. app/orders.py and app/order_audit.py are the files' formats, for other programs too.
"""
