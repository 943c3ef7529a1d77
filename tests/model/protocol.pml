/* protocol.pml - accept, claim, publish, answer: two nodes, one vehicle, two commands, and what may go wrong in between.
 *
 * Each step is a transaction, a packet or a thing that happens to somebody. Steps come in every order, and so many faults as the
 * environment's FAULTS says come at every moment; spin's verifier looks at all of it. COMMAND 0 or 1: that one alone. BUG puts one
 * mistake in, which has to be found. docs/protocol.md explains it, and `run` is what ./dev test calls. */

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
#define READ_BEFORE_LOCK 10
#define ANY_ATTEMPT 11
#define SAY_AGAIN 12
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
bit alive[WORKERS];
bit is_late[WORKERS];                             /* in one step: what it sent before it stood still is run after its lease */
byte asked[WORKERS];                              /* by a mistake alone: what it has begun to accept before its one transaction */
bit saw_free[WORKERS];                            /* likewise: whether it saw a head without a claim then */
byte believed[WORKERS];                           /* the epoch under which it has the feed; 0: it has not */
byte answered[WORKERS], under[WORKERS];           /* the command whose answer it has read, and under which epoch */
/* Its publish of each command: in hand, on the wire, what the broker said, or that the link was lost. */
#define NO 0
#define IN_HAND 1
#define ON_WIRE 2
#define ACKNOWLEDGED 3
#define HEARD_BY_NOBODY 4
#define LINK_LOST 5
#define NOT_SENT 6
byte publish[WORKERS * 4], of_attempt[WORKERS * 4], of_session[WORKERS * 4];
bit was_frozen[WORKERS * 4];                      /* since it claimed */
#define AT(w, c) (2 * (w) + (c))
#define OLD(w, c) (4 + AT(w, c))                  /* of a claim of before, that others took from it while it was frozen */
#define is_in_hand(w, c) (publish[AT(w, c)] != NO || publish[OLD(w, c)] != NO)
#define is_on_wire(c) (publish[AT(0, c)] == ON_WIRE || publish[AT(1, c)] == ON_WIRE || \
	publish[OLD(0, c)] == ON_WIRE || publish[OLD(1, c)] == ON_WIRE)

/* The broker: who reads the feed, what lies there, and for the vehicle. */
byte reader = NOBODY;
bit answers[2], requests[2], straggler[2];        /* a straggler was written by somebody who is dead */

/* The vehicle and the app. */
byte happened, heard;                              /* its comings and goings, and how many of them were read */
#define is_connected (happened % 2 == 0)
#define session_of(n) ((n) / 2 + 1)
bit executed[2], is_accepted[2];
bit received[2];                                  /* handed over to the vehicle's subscription */
bit told[2];                                      /* 202, for the first time */

byte faults;
bit end;                                          /* nothing is left to happen but time */
byte c_, d_;                                      /* of one step alone */

#define is_open(c) (status[c] == ACCEPTED || status[c] == WAITING)
#define is_claimed(c) (flight[c] == CLAIMED || flight[c] == CLAIMED_OUT)
#define is_final(c) (status[c] >= SUCCEEDED)

/* ---- what every transaction ends with: settle_claims() */

#define may_repeat(c) ((c) != NEVER || bug == REPEAT_NEVER)
#define is_offered(c) ((is_open(c) || status[c] == SENT) && !over[c] && (flight[c] == NONE || \
	flight[c] == OUT && may_repeat(c) && (status[c] != SENT || publish_session[c] != session)))
#define next_offered (first != NOBODY && is_offered(first) -> first : \
	(first != NOBODY && is_offered(1 - first) -> 1 - first : NOBODY))
#define head_is_free(w) (claim == NOBODY || bug == CLAIM_BESIDE_CLAIM || saw_free[w])

inline end_claim() { claim = NOBODY; claim_worker = 0; claim_attempt = 0; claim_session = 0 }

#define can_claim(w) (alive[w] && (lease[w] || is_late[w]))

inline forget_publish(s) { publish[s] = NO; of_attempt[s] = 0; of_session[s] = 0; was_frozen[s] = 0 }

/* What it still has to say of a claim of before: end_moot(). What the broker has yet to say comes when it comes. */
#define is_said(s) (publish[s] == NOT_SENT || publish[s] == LINK_LOST)
inline put_by(w, c)
{
	if
	:: publish[AT(w, c)] == NO || is_said(AT(w, c)) && bug != SAY_AGAIN -> skip
	:: else ->
		publish[OLD(w, c)] = publish[AT(w, c)]; was_frozen[OLD(w, c)] = was_frozen[AT(w, c)];
		of_attempt[OLD(w, c)] = of_attempt[AT(w, c)]; of_session[OLD(w, c)] = of_session[AT(w, c)]
	fi
}

inline take_claim(w, c)
{
	assert(claim == NOBODY);                  /* one of a vehicle between claim and PUBACK: so order holds */
	put_by(w, c);
	if
	:: bug != PUBLISH_WITHOUT_CLAIM ->
		flight[c] = (flight[c] == NONE -> CLAIMED : CLAIMED_OUT);
		claim = c; claim_worker = w; claim_session = session; claim_attempt = attempts[c] + 1
	:: else
	fi;
	attempts[c]++;
	publish_session[c] = session;
	publish[AT(w, c)] = IN_HAND; of_attempt[AT(w, c)] = attempts[c]; of_session[AT(w, c)] = session;
	was_frozen[AT(w, c)] = !lease[w]
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
	:: d_ != NOBODY && head_is_free(w) && reachable && can_claim(w) && publish[OLD(w, d_)] == NO -> take_claim(w, d_)
	:: else
	fi;
	d_ = 0
}

/* ---- accept */

/* What is asked and not committed nobody sees, and a 202 that is lost is as one not sent: the app asks again, and its key has it. So
 * all of it is one step, but for who does it by halves. */
#define by_halves (bug == TELL_BEFORE_COMMIT || bug == READ_BEFORE_LOCK)
#define can_begin(w, c) (by_halves && alive[w] && asked[w] == NOBODY && status[c] == ABSENT && !told[c] && !end)
inline begin(w, c)
{
	asked[w] = c;
	told[c] = (bug == TELL_BEFORE_COMMIT);
	saw_free[w] = (bug == READ_BEFORE_LOCK && claim == NOBODY)
}

#define can_accept(w, c) (alive[w] && status[c] == ABSENT && !end && (!by_halves || asked[w] == c))
inline accept(w, c)
{
	status[c] = ACCEPTED; flight[c] = NONE; told[c] = 1; asked[w] = NOBODY;
	if
	:: first == NOBODY -> first = c
	:: else
	fi;
	settle(w);
	saw_free[w] = 0
}

/* ---- publish, and what the broker says */

#define can_publish(w, c) (alive[w] && publish[AT(w, c)] == IN_HAND && publish[OLD(w, c)] != IN_HAND)
#define can_publish_old(w, c) (alive[w] && publish[OLD(w, c)] == IN_HAND)
inline publish_one(w, c, s)
{
	if
	:: over[c] -> publish[s] = NOT_SENT
	:: else ->
		/* It is still its own, unless it was frozen for longer than its lease, or the vehicle was faster. */
		assert(was_frozen[s] || claim == c && claim_worker == w && claim_attempt == of_attempt[s] ||
			status[c] == SUCCEEDED || status[c] == TIMED_OUT);
		publish[s] = ON_WIRE
	fi;
	was_frozen[s] = 0
}
inline publish_it(w, c) { publish_one(w, c, AT(w, c)) }
inline publish_old(w, c) { publish_one(w, c, OLD(w, c)) }

/* The broker takes it, for whoever is subscribed; what is over it throws away. */
inline hand_over(c)
{
	if
	:: !over[c] && is_connected ->
		assert(c != NEVER || !received[c]);
		requests[c] = 1; received[c] = 1
	:: else
	fi
}

#define can_arrive(w, c) (publish[AT(w, c)] == ON_WIRE)
#define can_arrive_old(w, c) (publish[OLD(w, c)] == ON_WIRE)
inline arrive_one(c, s)
{
	publish[s] = (is_connected || over[c] -> ACKNOWLEDGED : HEARD_BY_NOBODY);
	hand_over(c)
}
inline arrive(w, c) { arrive_one(c, AT(w, c)) }
inline arrive_old(w, c) { arrive_one(c, OLD(w, c)) }

/* The PUBACK, or what stands for it, recorded: puback.sql. */
#define can_record(w, c) (alive[w] && publish[AT(w, c)] >= ACKNOWLEDGED)
#define can_record_old(w, c) (alive[w] && publish[OLD(w, c)] >= ACKNOWLEDGED)
#define can_record_unheard(w, c) (faults > 0 && alive[w] && publish[AT(w, c)] == NOT_SENT)
#define is_of_old_session (reachable && session != claim_session && bug != BELIEVE_OLD_NOBODY)
#define is_doubted(s) (session == of_session[s] || bug == BELIEVE_OLD_NOBODY)
/* Nobody knows that it reached this session: it is offered there again. */
#define forget_session(c) publish_session[c] = (bug == KEEP_SESSION_OF_LOST -> publish_session[c] : 0)
#define drop_claim(c) flight[c] = (flight[c] == CLAIMED -> NONE : OUT)
inline record_one(w, c, s, is_heard)
{
	if
	:: publish[s] == HEARD_BY_NOBODY && is_doubted(s) -> reachable = 0 /* disproof_apply.sql */
	:: else
	fi;
	if
	:: claim == c && claim_worker == w && (claim_attempt == of_attempt[s] || bug == ANY_ATTEMPT) ->
		if
		:: publish[s] == ACKNOWLEDGED -> status[c] = SENT; flight[c] = OUT
		:: publish[s] == HEARD_BY_NOBODY ->
			if
			:: is_of_old_session -> forget_session(c)
			:: else -> status[c] = WAITING
			fi;
			attempts[c]--; drop_claim(c)
		:: publish[s] == NOT_SENT -> forget_session(c); attempts[c]--; drop_claim(c)
		:: publish[s] == LINK_LOST -> forget_session(c); flight[c] = OUT
		fi;
		end_claim()
	:: else                                   /* the answer was faster, or it is another's by now */
	fi;
	if
	:: is_heard -> forget_publish(s)
	:: else                                   /* nobody tells it that it is recorded: it says so again */
	fi;
	settle(w)
}
inline record(w, c) { record_one(w, c, AT(w, c), 1) }
inline record_old(w, c) { record_one(w, c, OLD(w, c), 1) }
inline record_unheard(w, c) { faults--; record_one(w, c, AT(w, c), 0) }

/* ---- time: deadline.sql, offers. Every worker looks */

#define is_abandoned(w, c) (claim_worker == w -> !is_in_hand(w, c) || !lease[w] : !lease[claim_worker] || bug == TIMER_WITHOUT_FENCE)
#define can_lose(w, c) (alive[w] && claim == c && is_abandoned(w, c))
inline lose(w, c)
{
	end_claim(); flight[c] = OUT; forget_session(c);
	settle(w)
}

#define can_end(w, c) (alive[w] && over[c] && (is_open(c) || status[c] == SENT && flight[c] == OUT))
#define was_never_out(c) (!received[c] && !straggler[c] && !is_on_wire(c))
inline forget_final(c) { publish_session[c] = 0; attempts[c] = 0 }

inline end_it(w, c)
{
	if
	:: flight[c] == NONE -> assert(was_never_out(c)); status[c] = EXPIRED
	:: else ->
		status[c] = TIMED_OUT; flight[c] = OUT;
		if
		:: claim == c -> end_claim()
		:: else
		fi
	fi;
	forget_final(c);
	settle(w)
}

#define is_to_offer(w) (reachable && claim == NOBODY && next_offered != NOBODY && publish[OLD(w, next_offered)] == NO)
#define can_offer(w) (can_claim(w) && is_to_offer(w))
#define can_offer_late(w) (faults > 0 && alive[w] && !lease[w] && is_to_offer(w))
inline offer_late(w) { faults--; is_late[w] = 1; settle(w); is_late[w] = 0 }

#define can_cancel(w, c) (faults > 0 && alive[w] && is_open(c) && flight[c] == NONE && !end)
inline cancel(w, c)
{
	faults--;
	assert(was_never_out(c));
	status[c] = CANCELED;
	forget_final(c);
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
	answered[w] = c; under[w] = believed[w];
	if
	:: bug == ACKNOWLEDGE_BEFORE_COMMIT -> answers[c] = 0; is_accepted[c] = 1
	:: else
	fi
}

#define passes(w) (is_holder(w, under[w]) || bug == FEED_WITHOUT_FENCE)
#define can_apply(w) (alive[w] && answered[w] != NOBODY)
/* Behind the commit the broker is rid of it and the vehicle is told; or neither, and it is read again; or the vehicle does not hear. */
inline apply(w, is_rid, is_heard)
{
	c_ = answered[w];
	if
	:: passes(w) ->
		assert(is_holder(w, under[w]));
		reachable = 1;                    /* proof_apply.sql */
		if
		:: is_open(c_) || status[c_] == SENT || status[c_] == TIMED_OUT ->
			assert(flight[c_] != NONE);
			status[c_] = SUCCEEDED; flight[c_] = OUT; forget_final(c_);
			if
			:: claim == c_ -> end_claim()
			:: else
			fi
		:: else
		fi;
		if
		:: is_rid && reader == w -> answers[c_] = 0
		:: else
		fi;
		if
		:: is_heard && is_connected -> assert(status[c_] == SUCCEEDED); is_accepted[c_] = 1
		:: else
		fi;
		settle(w)
	:: else ->                                /* fenced: it connects again, if it may */
		if
		:: reader == w -> reader = NOBODY
		:: else
		fi
	fi;
	answered[w] = NOBODY; under[w] = 0; c_ = 0
}

/* What the lifecycle feed brings; it is leased as the other. */
#define can_hear(w) (alive[w] && believed[w] != 0 && is_holder(w, believed[w]) && heard != happened)
inline hear(w)
{
	heard++;
	if
	:: heard % 2 == 0 -> session = session_of(heard); reachable = 1
	:: heard % 2 == 1 && session == session_of(heard) -> reachable = 0
	:: else
	fi;
	settle(w)
}

/* ---- what goes wrong with a worker */

/* What it has not written yet it does not write. */
inline lose_publish(c, s)
{
	if
	:: publish[s] == IN_HAND -> publish[s] = NOT_SENT; was_frozen[s] = 0
	:: publish[s] == ON_WIRE -> straggler[c] = 1; publish[s] = LINK_LOST
	:: publish[s] == ACKNOWLEDGED || publish[s] == HEARD_BY_NOBODY -> publish[s] = LINK_LOST
	:: else
	fi
}
inline lose_publishes(w)
{
	lose_publish(0, AT(w, 0)); lose_publish(1, AT(w, 1)); lose_publish(0, OLD(w, 0)); lose_publish(1, OLD(w, 1))
}

#define is_up_to(s) (publish[s] >= IN_HAND && publish[s] <= HEARD_BY_NOBODY)
#define can_lose_link(w) (faults > 0 && alive[w] && \
	(is_up_to(AT(w, 0)) || is_up_to(AT(w, 1)) || is_up_to(OLD(w, 0)) || is_up_to(OLD(w, 1))))
inline lose_link(w)
{
	faults--;
	lose_publishes(w)
}

#define notice(s) was_frozen[s] = (publish[s] == IN_HAND)
inline freeze(w)
{
	lease[w] = 0;
	notice(AT(w, 0)); notice(AT(w, 1)); notice(OLD(w, 0)); notice(OLD(w, 1))
}

#define can_crash(w) (faults > 0 && alive[w] && !end)
inline crash(w)
{
	faults--;
	lose_publishes(w);
	forget_publish(AT(w, 0)); forget_publish(AT(w, 1)); forget_publish(OLD(w, 0)); forget_publish(OLD(w, 1));
	alive[w] = 0; asked[w] = NOBODY; saw_free[w] = 0; believed[w] = 0;
	answered[w] = NOBODY; under[w] = 0;
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
	EACH(can_begin, begin)
	EACH(can_accept, accept)
	EACH(can_publish, publish_it)
	EACH(can_publish_old, publish_old)
	EACH(can_arrive, arrive)
	EACH(can_arrive_old, arrive_old)
	EACH(can_record, record)
	EACH(can_record_old, record_old)
	EACH(can_lose, lose)
	EACH(can_end, end_it)
	:: d_step { can_offer(w) -> settle(w) }
	:: d_step { can_take(w) -> take(w) }
	:: d_step { can_connect(w) -> reader = w }
	EACH(can_read, read)
	:: d_step { can_apply(w) -> apply(w, 1, 1) }
	:: d_step { can_apply(w) -> apply(w, 0, 0) }
	:: d_step { can_hear(w) -> hear(w) }
	:: d_step { can_renew(w) -> renew(w) }
	:: d_step { !alive[w] && lease[w] -> lease[w] = 0 }
	/* faults */
	EACH(can_cancel, cancel)
	EACH(can_record_unheard, record_unheard)
	:: d_step { faults > 0 && can_apply(w) && is_connected -> faults--; apply(w, 1, 0) }
	:: d_step { can_lose_link(w) -> lose_link(w) }
	:: d_step { can_offer_late(w) -> offer_late(w) }
	:: d_step { can_crash(w) -> crash(w) }
	:: d_step { faults > 0 && alive[w] && lease[w] -> faults--; freeze(w) } /* frozen for longer than its lease, or taken for dead */
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

#define can_resend(c) (executed[c] && !is_accepted[c] && !answers[c] && is_connected)
inline resend(c) { answers[c] = 1 }

#define can_lose_answer(c) (faults > 0 && answers[c])
inline lose_answer(c) { faults--; answers[c] = 0 }

#define has_straggler(c) straggler[c]
inline comes_late(c) { straggler[c] = 0; hand_over(c) }
inline never_comes(c) { straggler[c] = 0 }

#define can_be_early(c) (faults > 0 && status[c] != ABSENT && !is_final(c) && !over[c] && !end)
inline be_over(c) { faults--; over[c] = 1 }

#define EACH_COMMAND(can, does) \
	:: d_step { can(0) -> does(0) } \
	:: d_step { can(1) -> does(1) }

proctype world()
{
	do
	EACH_COMMAND(can_receive, receive_once)
	EACH_COMMAND(can_resend, resend)
	EACH_COMMAND(has_straggler, comes_late)
	EACH_COMMAND(has_straggler, never_comes)
	:: d_step { !is_connected -> happened++ }
	/* faults */
	EACH_COMMAND(can_receive_twice, receive_twice)
	EACH_COMMAND(can_lose_answer, lose_answer)
	EACH_COMMAND(can_be_early, be_over)
	:: d_step { faults > 0 && is_connected && !end -> faults--; happened++; requests[0] = 0; requests[1] = 0 }
	/* Nothing more can happen, and the vehicle is there: what may be repeated is done, what may not is not lying about. */
	:: d_step { timeout && !end ->
		if
		:: alive[0] || alive[1] ->
			assert(status[0] != ABSENT && status[1] != ABSENT);
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
				:: c_ != NOBODY -> status[1 - c_] = CANCELED
		:: else
		fi;
		c_ = 0
	}
	atomic { run worker(0); run worker(1); run world() }
}
