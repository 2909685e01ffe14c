/** One of a limited number of places. */
export interface Loan {
  giveBack(): void
}

/** Lends at most `countMax` places at a time; who comes later waits in line. */
export function loans(countMax: number): { borrow(): Promise<Loan> } {
  const waiting: (() => void)[] = []
  let lent = 0
  const giveBack = (): void => {
    const next = waiting.shift()
    if (next === undefined) lent--
    else next()
  }
  return {
    async borrow() {
      if (lent < countMax) lent++
      else await new Promise<void>((resolve) => waiting.push(resolve))
      return { giveBack }
    },
  }
}
