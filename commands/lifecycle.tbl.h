/* The life of a command: every change that there is, and no other.
 *
 * EDGE(event, from status, from flight, to status, to flight, tells, why)
 *
 * The flight is what is known of its publishes: NONE is possible or undisproved; one is CLAIMED by a
 * worker; one is OUT (published, and not disproved, or nobody knows); CLAIMED_OUT is both. `tells`: apps
 * get a command.updated. The SQL table `lifecycle`, docs/command-lifecycle.md and the exhaustive test
 * come from these rows. */

/* A worker takes the right to publish. */
EDGE(claim, ACCEPTED, NONE, ACCEPTED, CLAIMED, false, "the vehicle is reachable and nothing earlier is unsent")
EDGE(claim, ACCEPTED, OUT, ACCEPTED, CLAIMED_OUT, false, "its publisher died before the PUBACK: offered again")
EDGE(claim, WAITING, NONE, WAITING, CLAIMED, false, "the vehicle is reachable again")
EDGE(claim, WAITING, OUT, WAITING, CLAIMED_OUT, false, "the vehicle came back: offered again")
EDGE(claim, SENT, OUT, SENT, CLAIMED_OUT, false,
	"the vehicle subscribed in another session before answering, or a publish in this one was lost: offered again")

/* The claim was not published, or the publish was disproved while the vehicle had another session. */
EDGE(release, ACCEPTED, CLAIMED, ACCEPTED, NONE, false, "certainly not handed over")
EDGE(release, ACCEPTED, CLAIMED_OUT, ACCEPTED, OUT, false, "this publish is disproved, an earlier one is not")
EDGE(release, WAITING, CLAIMED, WAITING, NONE, false, "certainly not handed over")
EDGE(release, WAITING, CLAIMED_OUT, WAITING, OUT, false, "this publish is disproved, an earlier one is not")
EDGE(release, SENT, CLAIMED_OUT, SENT, OUT, false, "this publish is disproved, an earlier one is not")

/* PUBACK 0x10, no matching subscribers, for the session that is still the vehicle's. */
EDGE(disprove, ACCEPTED, CLAIMED, WAITING, NONE, true, "nobody was there")
EDGE(disprove, ACCEPTED, CLAIMED_OUT, WAITING, OUT, true, "nobody was there, yet an earlier publish is undisproved")
EDGE(disprove, WAITING, CLAIMED, WAITING, NONE, false, "nobody was there")
EDGE(disprove, WAITING, CLAIMED_OUT, WAITING, OUT, false, "nobody was there, yet an earlier publish is undisproved")
EDGE(disprove, SENT, CLAIMED_OUT, WAITING, OUT, true, "nobody was there, yet an earlier publish is undisproved")

/* The broker took it. */
EDGE(puback, ACCEPTED, CLAIMED, SENT, OUT, true, "handed to the broker")
EDGE(puback, ACCEPTED, CLAIMED_OUT, SENT, OUT, true, "handed to the broker again")
EDGE(puback, WAITING, CLAIMED, SENT, OUT, true, "handed to the broker")
EDGE(puback, WAITING, CLAIMED_OUT, SENT, OUT, true, "handed to the broker again")
EDGE(puback, SENT, CLAIMED_OUT, SENT, OUT, false, "handed to the broker again")
EDGE(puback, SENT, OUT, SENT, OUT, false, "the answer was faster: only the timeline learns of it")
EDGE(puback, IN_PROGRESS, OUT, IN_PROGRESS, OUT, false, "the answer was faster: only the timeline learns of it")
EDGE(puback, TIMED_OUT, OUT, TIMED_OUT, OUT, false, "too late to matter: only the timeline learns of it")
EDGE(puback, SUCCEEDED, OUT, SUCCEEDED, OUT, false, "the answer was faster: only the timeline learns of it")
EDGE(puback, FAILED, OUT, FAILED, OUT, false, "the answer was faster: only the timeline learns of it")
EDGE(puback, REJECTED, OUT, REJECTED, OUT, false, "the answer was faster: only the timeline learns of it")

/* The publisher died between claim and PUBACK: nobody knows whether it left. */
EDGE(lose, ACCEPTED, CLAIMED, ACCEPTED, OUT, false, "it may have left")
EDGE(lose, ACCEPTED, CLAIMED_OUT, ACCEPTED, OUT, false, "it may have left")
EDGE(lose, WAITING, CLAIMED, WAITING, OUT, false, "it may have left")
EDGE(lose, WAITING, CLAIMED_OUT, WAITING, OUT, false, "it may have left")
EDGE(lose, SENT, CLAIMED_OUT, SENT, OUT, false, "it may have left")

/* The vehicle is away. */
EDGE(absent, ACCEPTED, NONE, WAITING, NONE, true, "the vehicle is unreachable")
EDGE(absent, ACCEPTED, OUT, WAITING, OUT, true, "the vehicle is unreachable")
EDGE(absent, SENT, OUT, WAITING, OUT, true, "the absence was verified before an answer")

/* The vehicle's answer names it. First it counts as sent, whatever is known of the PUBACK. */
EDGE(arrive, ACCEPTED, CLAIMED, SENT, OUT, true, "the answer overtook the PUBACK")
EDGE(arrive, ACCEPTED, CLAIMED_OUT, SENT, OUT, true, "the answer overtook the PUBACK")
EDGE(arrive, ACCEPTED, OUT, SENT, OUT, true, "the answer proves the publish")
EDGE(arrive, WAITING, CLAIMED, SENT, OUT, true, "the answer overtook the PUBACK")
EDGE(arrive, WAITING, CLAIMED_OUT, SENT, OUT, true, "the answer overtook the PUBACK")
EDGE(arrive, WAITING, OUT, SENT, OUT, true, "the answer proves the publish")

/* What the vehicle said. */
EDGE(in_progress, SENT, OUT, IN_PROGRESS, OUT, true, "the vehicle works on it")
EDGE(in_progress, SENT, CLAIMED_OUT, IN_PROGRESS, OUT, true, "the vehicle works on it")
EDGE(in_progress, IN_PROGRESS, OUT, IN_PROGRESS, OUT, true, "still at it: the time-out starts anew")
EDGE(succeeded, SENT, OUT, SUCCEEDED, OUT, true, "the vehicle did it")
EDGE(succeeded, SENT, CLAIMED_OUT, SUCCEEDED, OUT, true, "the vehicle did it")
EDGE(succeeded, IN_PROGRESS, OUT, SUCCEEDED, OUT, true, "the vehicle did it")
EDGE(succeeded, TIMED_OUT, OUT, SUCCEEDED, OUT, true, "a late answer is kept")
EDGE(failed, SENT, OUT, FAILED, OUT, true, "the vehicle could not")
EDGE(failed, SENT, CLAIMED_OUT, FAILED, OUT, true, "the vehicle could not")
EDGE(failed, IN_PROGRESS, OUT, FAILED, OUT, true, "the vehicle could not")
EDGE(failed, TIMED_OUT, OUT, FAILED, OUT, true, "a late answer is kept")
EDGE(rejected, SENT, OUT, REJECTED, OUT, true, "the vehicle would not")
EDGE(rejected, SENT, CLAIMED_OUT, REJECTED, OUT, true, "the vehicle would not")
EDGE(rejected, IN_PROGRESS, OUT, REJECTED, OUT, true, "the vehicle would not")
EDGE(rejected, TIMED_OUT, OUT, REJECTED, OUT, true, "a late answer is kept")

/* Time. */
EDGE(expire, ACCEPTED, NONE, EXPIRED, NONE, true, "undelivered until its end")
EDGE(expire, WAITING, NONE, EXPIRED, NONE, true, "undelivered until its end")
EDGE(time_out, ACCEPTED, CLAIMED, TIMED_OUT, OUT, true, "its end came while nobody knows whether it left")
EDGE(time_out, ACCEPTED, CLAIMED_OUT, TIMED_OUT, OUT, true, "its end came while nobody knows whether it left")
EDGE(time_out, ACCEPTED, OUT, TIMED_OUT, OUT, true, "its end came while nobody knows whether it left")
EDGE(time_out, WAITING, CLAIMED, TIMED_OUT, OUT, true, "its end came while nobody knows whether it left")
EDGE(time_out, WAITING, CLAIMED_OUT, TIMED_OUT, OUT, true, "its end came while nobody knows whether it left")
EDGE(time_out, WAITING, OUT, TIMED_OUT, OUT, true, "its end came; it may have been done")
EDGE(time_out, SENT, OUT, TIMED_OUT, OUT, true, "no answer in time")
EDGE(time_out, SENT, CLAIMED_OUT, TIMED_OUT, OUT, true, "no answer in time")
EDGE(time_out, IN_PROGRESS, OUT, TIMED_OUT, OUT, true, "no answer in time")

/* Taken back before it could be handed over: by a person, a newer command, a revoked grant. */
EDGE(cancel, ACCEPTED, NONE, CANCELED, NONE, true, "taken back")
EDGE(cancel, WAITING, NONE, CANCELED, NONE, true, "taken back")
