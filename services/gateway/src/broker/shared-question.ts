type OnAnswer<Answer> = (answer: Answer) => void;

/**
 * One question that many may have at once: it is out once at a time, and whoever comes meanwhile shares the next, so that the number of
 * those who ask is not the load of who answers. Every answer is to a question that was put after it was wanted. Pure.
 */
export class SharedQuestion<Answer> {
  readonly #put: (onAnswer: OnAnswer<Answer>) => void;
  #waiting: OnAnswer<Answer>[] = [];
  #isOut = false;

  /** `put` puts the question, and must call back once. */
  constructor(put: (onAnswer: OnAnswer<Answer>) => void) {
    this.#put = put;
  }

  /** `onAnswer` is called once. */
  ask(onAnswer: OnAnswer<Answer>): void {
    this.#waiting.push(onAnswer);
    if (!this.#isOut) this.#next();
  }

  #next(): void {
    const asking = this.#waiting;
    this.#waiting = [];
    this.#isOut = true;
    this.#put((answer) => {
      this.#isOut = false;
      if (this.#waiting.length > 0) this.#next();
      for (const onAnswer of asking) onAnswer(answer);
    });
  }
}
