/* What `keyfob capacity` reckons with: assumptions, which the command line changes, and constants, which tests/bench/costs.mjs
 * measured (docs/capacity.md says when and on what). Who measures on machines of their own puts those numbers here.
 *
 * ASSUMED(name, default, the least that makes sense, sentence)
 * COSTS(name, PostgreSQL, keyfobd, broker: us of CPU; WAL bytes; what)
 * TAKES(name, bytes, what) */
#ifndef ASSUMED
#define ASSUMED(name, otherwise, least, sentence)
#endif
#ifndef COSTS
#define COSTS(name, database, node, broker, wal, what)
#endif
#ifndef TAKES
#define TAKES(name, bytes, what)
#endif

/* what a fleet does */
ASSUMED(vehicles, 1e6, 0, "vehicles")
ASSUMED(connected, 0.25, 0, "of them connected at the busiest time")
ASSUMED(commands, 2, 0, "commands for a vehicle in a day")
ASSUMED(away, 0.3, 0, "of these to a vehicle that is away, and is awaited or woken")
ASSUMED(reports, 1, 0, "state reports of a vehicle in an hour")
ASSUMED(comings, 6, 0, "times a day that a vehicle comes, and goes")
ASSUMED(apps, 0.01, 0, "open apps for each vehicle, at the busiest time")
ASSUMED(opens, 4, 0, "times a day that an app is opened for a vehicle")
ASSUMED(peak, 4, 1, "the busiest hour, to the mean of the day")
ASSUMED(commands_days, 90, 0, "days that commands are kept: retention.commands")
ASSUMED(events_days, 30, 0, "days that events are kept: retention.events")

/* what there is to carry it */
ASSUMED(busy, 0.5, 0.01, "how much of a core may be used in the busiest hour")
ASSUMED(node_cores, 8, 1, "cores of a machine with a node")
ASSUMED(node_apps, 20000, 1, "open apps that a node is to hold: what LimitNOFILE of its unit is good for, with TLS")
ASSUMED(broker_cores, 1, 1, "cores that the broker can use: mosquitto has one thread")
ASSUMED(database_cores, 32, 1, "cores of PostgreSQL's machine")
ASSUMED(database_wal, 100, 1, "MB of WAL a second that it, its standby and its archive take")
ASSUMED(database_disk, 8, 0.01, "TB that it is to hold: they have to be vacuumed, backed up and restored")

COSTS(command, 1000, 350, 280, 6500, "a command to a vehicle that is there, from WebSocket to its answer")
COSTS(awaited, 600, 100, 0, 4400, "… to one that is away, besides: accepted, told to wait")
COSTS(report, 280, 60, 92, 1600, "a state report")
COSTS(coming, 800, 80, 600, 3500, "a vehicle comes: connect, five subscriptions, reachable")
COSTS(returning, 150, 25, 0, 0, "… at the one feed that tells of it, where many come: in transactions of hundreds, one after the other")
COSTS(going, 900, 30, 75, 2000, "a vehicle goes, and is not back in time")
COSTS(handshake, 0, 0, 2300, 0, "its TLS handshake (P-256), by certificates of both sides")
COSTS(opening, 760, 260, 0, 240, "an app opens a WebSocket and watches a vehicle")
COSTS(idling, 2, 8, 0, 0, "an open app that says nothing, in a second: pings")
COSTS(delivery, 0, 7, 0, 0, "an event handed to an app that watches")

TAKES(vehicle, 1200, "a vehicle, with its head and one grant, and their indices")
TAKES(vehicle_head, 400, "… of which its head, and its indices")
TAKES(command_row, 2300, "a command, with its line in the audit table, and their indices")
TAKES(event_row, 470, "an event, and its indices")
TAKES(event_index, 70, "… of which its indices")
TAKES(page, 5700, "an index page that is written whole to the WAL: 8 KiB, 70 % full (reckoned)")
TAKES(node, 30e6, "a node without apps")
TAKES(app, 20000, "an open app at a node that ends TLS (3 000 without)")
TAKES(connection, 36000, "a connected vehicle at mosquitto, by TLS (3 200 without)")

#undef ASSUMED
#undef COSTS
#undef TAKES
