/* protocol.pml - accept, claim, publish, answer: two nodes, one vehicle, two commands, and what may go wrong in between.
 *
 * Each step is a transaction, a packet or a thing that happens to somebody. Steps come in every order, and so many faults as the
 * environment's FAULTS says come at every moment; spin's verifier looks at all of it. COMMAND 0 or 1: that one alone. BUG puts one
 * mistake in, which has to be found. docs/protocol.md explains it, and `run` is what ./dev test calls. */

#define FAULTS_MAX 4
#define WORKERS 2
#define NOBODY 7

/* Command 0 may be offered again (`on_reconnect`), command 1 may not (`never`). */
#define NEVER 1

/* What the code does not do. */
#define TELL_BEFORE_COMMIT 1
#define ACKNOWLEDGE_BEFORE_COMMIT 2
#define PUBLISH_WITHOUT_CLAIM 3
#define CLAIM_BESIDE_CLAIM 4
#define REPEAT_NEVER 5
#define BELIEVE_OLD_NOBODY 6
#define TIMER_WITHOUT_FENCE 7
#define FEED_WITHOUT_FENCE 8
#define KEEP_SESSION_OF_LOST 9
byte bug;

/* What becomes of a command, and what is known of its publishes: commands/lifecycle.tbl.h. The end is one, for expired, canceled. */
#define ABSENT 0
#define ACCEPTED 1
#define WAITING 2
#define SENT 3
#define SUCCEEDED 4
#define TIMED_OUT 5
#define EXPIRED 6
#define CANCELED 7

#define NONE 0
#define CLAIMED 1
#define OUT 2
#define CLAIMED_OUT 3

/* The database. Whatever changes it is one step, as the head's lock makes it. */
byte status[2], flight[2], publish_session[2], attempts[2];
byte first = NOBODY;                              /* which was accepted first */
byte claim = NOBODY, claim_worker, claim_attempt, claim_session;
byte session = 1;                                 /* the vehicle's, as it is stored */
bit reachable = 1;
bit lease[WORKERS];                               /* a worker's life, as the others see it */
byte holder = NOBODY, epoch;                      /* of the feed */
bit over[2];                                      /* the command's time is over */

/* A worker's memory, which goes with it. */
bit alive[WORKERS], was_frozen[WORKERS];
byte asked[WORKERS];                              /* the command that an app waits to hear of */
bit committed[WORKERS];
byte believed[WORKERS];                           /* the epoch under which it has the feed; 0: it has not */
byte answered[WORKERS], under[WORKERS];           /* the command whose answer it has read, and under which epoch */
bit applied[WORKERS];
/* Its publish of each command: in hand, on the wire, what the broker said, or that the link was lost. */
#define NO 0
#define IN_HAND 1
#define ON_WIRE 2
#define ACKNOWLEDGED 3
#define HEARD_BY_NOBODY 4
#define LINK_LOST 5
#define NOT_SENT 6
byte publish[WORKERS * 2], of_attempt[WORKERS * 2], of_session[WORKERS * 2];
#define AT(w, c) (2 * (w) + (c))

/* The broker: who reads the feed, what lies there, and for the vehicle. */
byte reader = NOBODY;
bit answers[2], requests[2], straggler[2];        /* a straggler was written by somebody who is dead */
chan lifecycle = [2 * FAULTS_MAX] of { bit, byte };

/* The vehicle and the app. */
byte connected = 1, last_session = 1;             /* its session, 0: away */
bit executed[2], is_accepted[2];
byte received[2];                                 /* handed over to the vehicle's subscription */
bit told[2];                                      /* 202 */

byte faults;
bit end;                                          /* nothing is left to happen but time */
byte c_, d_;                                      /* of one step alone */

#define is_open(c) (status[c] == ACCEPTED || status[c] == WAITING)
#define is_claimed(c) (flight[c] == CLAIMED || flight[c] == CLAIMED_OUT)
#define is_final(c) (status[c] >= SUCCEEDED)
#define can_claim(w) (alive[w] && lease[w])

/* ---- what every transaction ends with: settle_commands() */

#define may_repeat(c) ((c) != NEVER || bug == REPEAT_NEVER)
#define is_offered(c) ((is_open(c) || status[c] == SENT) && !over[c] && (flight[c] == NONE || \
	flight[c] == OUT && may_repeat(c) && (status[c] != SENT || publish_session[c] != session)))
#define next_offered (first != NOBODY && is_offered(first) -> first : \
	(first != NOBODY && is_offered(1 - first) -> 1 - first : NOBODY))
#define head_is_free (claim == NOBODY || bug == CLAIM_BESIDE_CLAIM)

inline take_claim(w, c)
{
	assert(claim == NOBODY);                  /* one of a vehicle between claim and PUBACK: so order holds */
	assert(publish[AT(w, c)] == NO);
	if
	:: bug != PUBLISH_WITHOUT_CLAIM ->
		flight[c] = (flight[c] == NONE -> CLAIMED : CLAIMED_OUT);
		claim = c; claim_worker = w; claim_session = session
	:: else
	fi;
	attempts[c]++;
	claim_attempt = attempts[c];
	publish_session[c] = session;
	publish[AT(w, c)] = IN_HAND; of_attempt[AT(w, c)] = attempts[c]; of_session[AT(w, c)] = session;
}

inline settle_absent(c)
{
	if
	:: !reachable && (status[c] == ACCEPTED && (flight[c] == NONE || flight[c] == OUT) ||
	                  status[c] == SENT && flight[c] == OUT && c != NEVER && !over[c]) -> status[c] = WAITING
	:: else
	fi
}

inline settle(w)
{
	settle_absent(0); settle_absent(1);
	d_ = next_offered;
	if
	:: d_ != NOBODY && head_is_free && reachable && can_claim(w) && publish[AT(w, d_)] == NO -> take_claim(w, d_)
	:: else
	fi;
	d_ = 0
}

/* ---- accept */

/* An app asks again, and somebody else, when whom it had asked is gone. */
#define can_ask(w, c) (alive[w] && asked[w] == NOBODY && asked[1 - (w)] != c && !told[c] && !is_final(c) && !end)
inline ask(w, c)
{
	asked[w] = c; committed[w] = 0;
	told[c] = (bug == TELL_BEFORE_COMMIT)
}

#define can_commit(w) (alive[w] && asked[w] != NOBODY && !committed[w])
inline commit(w)
{
	c_ = asked[w];
	if
	:: status[c_] == ABSENT ->                /* else its key has it already */
		status[c_] = ACCEPTED; flight[c_] = NONE;
		if
		:: first == NOBODY -> first = c_
		:: else
		fi
	:: else
	fi;
	committed[w] = 1;
	settle(w);
	c_ = 0
}

#define can_tell(w) (alive[w] && asked[w] != NOBODY && committed[w])
inline tell(w)
{
	told[asked[w]] = 1; asked[w] = NOBODY; committed[w] = 0
}

/* ---- publish, and what the broker says */

#define can_publish(w, c) (alive[w] && publish[AT(w, c)] == IN_HAND)
inline publish_it(w, c)
{
	if
	:: over[c] -> publish[AT(w, c)] = NOT_SENT
	:: else ->
		/* It is still its own, unless it was frozen for longer than its lease, or the vehicle was faster. */
		assert(was_frozen[w] || claim == c && claim_worker == w && claim_attempt == of_attempt[AT(w, c)] ||
			status[c] == SUCCEEDED || status[c] == TIMED_OUT);
		publish[AT(w, c)] = ON_WIRE
	fi
}

/* The broker takes it, for whoever is subscribed; what is over it throws away. */
inline hand_over(c)
{
	if
	:: !over[c] && connected != 0 ->
		requests[c] = 1; received[c]++;
		assert(c != NEVER || received[c] <= 1)
	:: else
	fi
}

#define can_arrive(w, c) (publish[AT(w, c)] == ON_WIRE)
inline arrive(w, c)
{
	publish[AT(w, c)] = (connected != 0 || over[c] -> ACKNOWLEDGED : HEARD_BY_NOBODY);
	hand_over(c)
}

/* The PUBACK, or what stands for it, recorded: puback.sql. */
#define can_record(w, c) (alive[w] && publish[AT(w, c)] >= ACKNOWLEDGED)
#define is_of_old_session (reachable && session != claim_session && bug != BELIEVE_OLD_NOBODY)
#define is_doubted(w, c) (session == of_session[AT(w, c)] || bug == BELIEVE_OLD_NOBODY)
/* Nobody knows that it reached this session: it is offered there again. */
#define forget_publish(c) publish_session[c] = (bug == KEEP_SESSION_OF_LOST -> publish_session[c] : 0)
#define drop_claim(c) flight[c] = (flight[c] == CLAIMED -> NONE : OUT)
inline record(w, c)
{
	if
	:: publish[AT(w, c)] == HEARD_BY_NOBODY && is_doubted(w, c) -> reachable = 0 /* disproof_apply.sql */
	:: else
	fi;
	if
	:: claim == c && claim_worker == w && claim_attempt == of_attempt[AT(w, c)] ->
		claim = NOBODY;
		if
		:: publish[AT(w, c)] == ACKNOWLEDGED -> status[c] = SENT; flight[c] = OUT
		:: publish[AT(w, c)] == HEARD_BY_NOBODY ->
			if
			:: is_of_old_session -> forget_publish(c)
			:: else -> status[c] = WAITING
			fi;
			attempts[c]--; drop_claim(c)
		:: publish[AT(w, c)] == NOT_SENT -> forget_publish(c); attempts[c]--; drop_claim(c)
		:: publish[AT(w, c)] == LINK_LOST -> forget_publish(c); flight[c] = OUT
		fi
	:: else                                   /* the answer was faster, or it is another's by now */
	fi;
	publish[AT(w, c)] = NO; of_attempt[AT(w, c)] = 0; of_session[AT(w, c)] = 0;
	settle(w)
}

/* ---- time: deadline.sql, offers. Every worker looks */

#define is_abandoned(w, c) (claim_worker == w -> publish[AT(w, c)] == NO || !lease[w] : !lease[claim_worker] || bug == TIMER_WITHOUT_FENCE)
#define can_lose(w, c) (alive[w] && claim == c && is_abandoned(w, c))
inline lose(w, c)
{
	claim = NOBODY; flight[c] = OUT; forget_publish(c);
	settle(w)
}

#define can_end(w, c) (alive[w] && over[c] && (is_open(c) || status[c] == SENT && flight[c] == OUT))
#define was_never_out(c) (received[c] == 0 && !straggler[c] && publish[AT(0, c)] != ON_WIRE && publish[AT(1, c)] != ON_WIRE)
inline end_it(w, c)
{
	if
	:: flight[c] == NONE -> assert(was_never_out(c)); status[c] = EXPIRED
	:: else ->
		status[c] = TIMED_OUT; flight[c] = OUT;
		if
		:: claim == c -> claim = NOBODY
		:: else
		fi
	fi;
	settle(w)
}

#define can_offer(w) (can_claim(w) && reachable && claim == NOBODY && next_offered != NOBODY && publish[AT(w, next_offered)] == NO)

#define can_cancel(w, c) (faults > 0 && alive[w] && is_open(c) && flight[c] == NONE && !end)
inline cancel(w, c)
{
	faults--;
	assert(was_never_out(c));
	status[c] = CANCELED;
	settle(w)
}

/* ---- the feed: gateway/lease.c, feed.c, commands/answer.c */

#define is_holder(w, e) (holder == w && epoch == (e))

#define can_renew(w) (alive[w] && !lease[w])
inline renew(w)
{
	lease[w] = 1;
	if
	:: !is_holder(w, believed[w]) ->
		believed[w] = 0;
		if
		:: reader == w -> reader = NOBODY
		:: else
		fi
	:: else
	fi
}

#define can_take(w) (alive[w] && lease[w] && (holder == NOBODY || !lease[holder]))
inline take(w)
{
	holder = w; epoch++; believed[w] = epoch;
	if
	:: reader == w -> reader = NOBODY
	:: else
	fi
}

/* The broker throws out whoever was connected under the feed's client id. */
#define can_connect(w) (alive[w] && lease[w] && believed[w] != 0 && is_holder(w, believed[w]) && reader != w && answered[w] == NOBODY)

#define can_read(w, c) (alive[w] && reader == w && answered[w] == NOBODY && answers[c])
inline read(w, c)
{
	answered[w] = c; under[w] = believed[w]; applied[w] = 0;
	if
	:: bug == ACKNOWLEDGE_BEFORE_COMMIT -> answers[c] = 0; is_accepted[c] = 1
	:: else
	fi
}

#define passes(w) (is_holder(w, under[w]) || bug == FEED_WITHOUT_FENCE)
#define can_apply(w) (alive[w] && answered[w] != NOBODY && !applied[w])
inline apply(w)
{
	c_ = answered[w];
	if
	:: passes(w) ->
		assert(is_holder(w, under[w]));
		reachable = 1;                    /* proof_apply.sql */
		if
		:: is_open(c_) || status[c_] == SENT || status[c_] == TIMED_OUT ->
			assert(flight[c_] != NONE);
			status[c_] = SUCCEEDED; flight[c_] = OUT;
			if
			:: claim == c_ -> claim = NOBODY
			:: else
			fi
		:: else
		fi;
		applied[w] = 1;
		settle(w)
	:: else ->                                /* fenced: it connects again, if it may */
		answered[w] = NOBODY; under[w] = 0;
		if
		:: reader == w -> reader = NOBODY
		:: else
		fi
	fi;
	c_ = 0
}

#define can_acknowledge(w) (alive[w] && answered[w] != NOBODY && applied[w])
inline acknowledge(w, is_lost)
{
	c_ = answered[w];
	if
	:: reader == w -> answers[c_] = 0
	:: else
	fi;
	if
	:: !is_lost && connected != 0 -> assert(status[c_] == SUCCEEDED); is_accepted[c_] = 1
	:: else
	fi;
	answered[w] = NOBODY; under[w] = 0; applied[w] = 0;
	c_ = 0
}

/* What the lifecycle feed brings; it is leased as the other. */
#define can_hear(w) (alive[w] && believed[w] != 0 && is_holder(w, believed[w]) && nempty(lifecycle))
inline hear(w)
{
	lifecycle?d_, c_;
	if
	:: d_ == 1 -> session = c_; reachable = 1
	:: d_ == 0 && session == c_ -> reachable = 0
	:: else
	fi;
	c_ = 0;
	settle(w)
}

/* ---- what goes wrong with a worker */

inline lose_publish(w, c)
{
	if
	:: publish[AT(w, c)] == ON_WIRE -> straggler[c] = 1; publish[AT(w, c)] = LINK_LOST
	:: publish[AT(w, c)] == ACKNOWLEDGED || publish[AT(w, c)] == HEARD_BY_NOBODY -> publish[AT(w, c)] = LINK_LOST
	:: else
	fi
}

#define has_publish(w) (publish[AT(w, 0)] >= ON_WIRE && publish[AT(w, 0)] <= HEARD_BY_NOBODY || \
                        publish[AT(w, 1)] >= ON_WIRE && publish[AT(w, 1)] <= HEARD_BY_NOBODY)
#define can_lose_link(w) (faults > 0 && alive[w] && has_publish(w))
inline lose_link(w)
{
	faults--;
	lose_publish(w, 0); lose_publish(w, 1)
}

#define can_crash(w) (faults > 0 && alive[w] && !end)
inline crash(w)
{
	faults--;
	lose_publish(w, 0); lose_publish(w, 1);
	publish[AT(w, 0)] = NO; of_attempt[AT(w, 0)] = 0; of_session[AT(w, 0)] = 0;
	publish[AT(w, 1)] = NO; of_attempt[AT(w, 1)] = 0; of_session[AT(w, 1)] = 0;
	alive[w] = 0; asked[w] = NOBODY; committed[w] = 0; believed[w] = 0;
	answered[w] = NOBODY; under[w] = 0; applied[w] = 0;
	if
	:: reader == w -> reader = NOBODY
	:: else
	fi
}

#define EACH(can, does) \
	:: d_step { can(w, 0) -> does(w, 0) } \
	:: d_step { can(w, 1) -> does(w, 1) }

proctype worker(byte w)
{
end_of_work:
	do
	EACH(can_ask, ask)
	:: d_step { can_commit(w) -> commit(w) }
	:: d_step { can_tell(w) -> tell(w) }
	EACH(can_publish, publish_it)
	EACH(can_arrive, arrive)
	EACH(can_record, record)
	EACH(can_lose, lose)
	EACH(can_end, end_it)
	:: d_step { can_offer(w) -> settle(w) }
	:: d_step { can_take(w) -> take(w) }
	:: d_step { can_connect(w) -> reader = w }
	EACH(can_read, read)
	:: d_step { can_apply(w) -> apply(w) }
	:: d_step { can_acknowledge(w) -> acknowledge(w, false) }
	:: d_step { can_hear(w) -> hear(w) }
	:: d_step { can_renew(w) -> renew(w) }
	:: d_step { !alive[w] && lease[w] -> lease[w] = 0 }
	/* faults */
	EACH(can_cancel, cancel)
	:: d_step { faults > 0 && can_acknowledge(w) -> faults--; acknowledge(w, true) }
	:: d_step { can_lose_link(w) -> lose_link(w) }
	:: d_step { can_crash(w) -> crash(w) }
	:: d_step { faults > 0 && alive[w] && lease[w] -> faults--; lease[w] = 0; was_frozen[w] = 1 } /* frozen for longer than its lease, or taken for dead */
	od
}

/* ---- the vehicle and what lies for it */

#define can_receive(c) requests[c]
inline receive(c)
{
	assert(status[c] != EXPIRED && status[c] != CANCELED);
	executed[c] = 1; answers[c] = 1
}
inline receive_once(c) { receive(c); requests[c] = 0 }
inline receive_twice(c) { receive(c); faults-- } /* it comes again */
#define can_receive_twice(c) (faults > 0 && requests[c])

#define can_resend(c) (executed[c] && !is_accepted[c] && !answers[c] && connected != 0)
inline resend(c) { answers[c] = 1 }

#define is_late(c) straggler[c]
inline comes_late(c) { straggler[c] = 0; hand_over(c) }
inline never_comes(c) { straggler[c] = 0 }

#define can_be_early(c) (faults > 0 && !over[c] && !end)
inline be_over(c) { faults--; over[c] = 1 }

#define EACH_COMMAND(can, does) \
	:: d_step { can(0) -> does(0) } \
	:: d_step { can(1) -> does(1) }

proctype world()
{
	do
	EACH_COMMAND(can_receive, receive_once)
	EACH_COMMAND(can_resend, resend)
	EACH_COMMAND(is_late, comes_late)
	EACH_COMMAND(is_late, never_comes)
	:: d_step { connected == 0 -> last_session++; connected = last_session; lifecycle!1, connected }
	/* faults */
	EACH_COMMAND(can_receive_twice, receive_twice)
	EACH_COMMAND(can_be_early, be_over)
	:: d_step { faults > 0 && connected != 0 && !end -> faults--; lifecycle!0, connected; connected = 0; requests[0] = 0; requests[1] = 0 }
	/* Nothing more can happen, and the vehicle is there: what may be repeated is done, what may not is not lying about. */
	:: d_step { timeout && !end ->
		if
		:: alive[0] || alive[1] ->
			assert(told[0] || is_final(0)); assert(told[1] || is_final(1));
			assert(over[0] || status[0] == SUCCEEDED || status[0] == CANCELED);
			assert(over[1] || status[1] == SUCCEEDED || status[1] == CANCELED || flight[1] == OUT)
		:: else
		fi;
		faults = 0; end = 1; over[0] = 1; over[1] = 1 }
	/* Time is over, and every command that was promised has come to something. */
	:: d_step { timeout && end ->
		if
		:: alive[0] || alive[1] ->
			assert(!told[0] || is_final(0)); assert(!told[1] || is_final(1));
			assert(claim == NOBODY)
		:: else
		fi };
		break
	od
}

init
{
	d_step {
		alive[0] = 1; alive[1] = 1; lease[0] = 1; lease[1] = 1;
		asked[0] = NOBODY; asked[1] = NOBODY; answered[0] = NOBODY; answered[1] = NOBODY;
		holder = 0; epoch = 1; believed[0] = 1; reader = 0;
		c_code {
			now.faults = getenv("FAULTS") ? atoi(getenv("FAULTS")) : 1;
			now.bug = getenv("BUG") ? atoi(getenv("BUG")) : 0;
			now.c_ = getenv("COMMAND") ? atoi(getenv("COMMAND")) : 7;
		};
		if
		:: c_ != NOBODY -> told[1 - c_] = 1; status[1 - c_] = CANCELED
		:: else
		fi;
		c_ = 0
	}
	atomic { run worker(0); run worker(1); run world() }
}
