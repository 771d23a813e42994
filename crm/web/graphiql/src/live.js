const MOST_MESSAGES = 100;
const MOST_CHARACTERS = 400_000;
const PAUSE_MS = 200; // the answer's editor reads its whole text anew each time

/**
 * What GraphiQL shows of a subscription: its messages, the newest first. By itself it shows each answer in place of the
 * last one, which leaves the latest message alone. The oldest go when there are too many. `onProblem` is called with what
 * ends it before its time.
 */
export function allMessages(messages, onProblem) {
  return {
    subscribe({ next, error, complete }) {
      const log = new MessageLog();
      let timer;
      let stopped = false;
      const show = () => {
        clearTimeout(timer);
        timer = undefined;
        if (!stopped) next(log.shown());
      };
      const follow = async () => {
        for await (const message of messages) {
          log.add(message);
          timer ??= setTimeout(show, log.received === 1 ? 0 : PAUSE_MS);
        }
      };
      const end = reason => {
        if (stopped) return;
        log.ended = reason;
        show();
        complete();
      };
      follow().then(
        () => end('by the server'),
        problem => {
          onProblem(problem);
          if (log.received) end(inWords(problem));
          else if (!stopped) error(problem);
        },
      );
      show(); // that it listens
      return {
        unsubscribe() {
          if (timer) show(); // what came within the pause
          stopped = true;
          messages.return();
        },
      };
    },
  };
}

function inWords(problem) {
  return [problem].flat().map(({ message }) => message).join(' ');
}

/** The latest messages of a subscription, within bounds. */
class MessageLog {
  #kept = []; // newest first: [when, message, characters]
  #characters = 0;
  received = 0;
  ended = undefined;

  add(message) {
    const characters = JSON.stringify(message).length;
    this.#kept.unshift([new Date().toISOString(), message, characters]);
    this.#characters += characters;
    this.received += 1;
    while (this.#kept.length > 1 && (this.#kept.length > MOST_MESSAGES || this.#characters > MOST_CHARACTERS)) {
      this.#characters -= this.#kept.pop()[2];
    }
  }

  shown() {
    return {
      received: this.received,
      ...(this.#kept.length < this.received && { shown: this.#kept.length }),
      ...(this.ended && { ended: this.ended }),
      newestFirst: this.#kept.map(([receivedAt, message]) => ({ receivedAt, ...message })),
    };
  }
}
