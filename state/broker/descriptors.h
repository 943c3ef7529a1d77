/* descriptors.h - how many connections the broker's process may have. */
#ifndef KEYFOB_STATE_BROKER_DESCRIPTORS_H
#define KEYFOB_STATE_BROKER_DESCRIPTORS_H

/* Raises the soft limit of descriptors to the hard one, and logs it. mosquitto leaves it where systemd puts it, at 1024: past
 * a thousand vehicles it would accept nobody. It waits by epoll, to which a large number is no harm. */
void descriptors_raise(void);

#endif
