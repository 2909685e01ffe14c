/** Where a value stands: `CLP-2`, `NM1[QC]-9`, `SVC-1.2`, `GS-4-5`. All numbers count from 1. */
export interface X12Path {
  readonly segment: string
  /** The first element of the segment that is meant, such as QC. */
  readonly qualifier?: string
  readonly element: number
  /** The last of several elements that are read as one: the date and time of `GS-4-5`. */
  readonly through?: number
  readonly component?: number
}

/** Where a value stands inside one segment: `9`, `1.2`. */
export type X12PartPath = Omit<X12Path, 'segment' | 'qualifier'>

/** All segments of a name: `NM1[QC]`. */
export type X12SegmentPath = Pick<X12Path, 'segment' | 'qualifier'>

type Reading<Path> =
  { readonly valid: true; readonly path: Path } | { readonly valid: false; readonly because: string }

const segmentSyntax = '([A-Z][A-Z0-9]{1,2})(?:\\[([A-Za-z0-9]{1,3})\\])?'
const elementSyntax = '([1-9][0-9]?)(?:-([1-9][0-9]?)|\\.([1-9][0-9]?))?'

/**
 * Reads a path into an X12 transaction: segment, its first element in brackets where several have the same name, element,
 * component.
 *
 * @example parseX12Path('NM1[QC]-9')  // { valid: true, path: { segment: 'NM1', qualifier: 'QC', element: 9 } }
 */
export function parseX12Path(text: string): Reading<X12Path> {
  const found = new RegExp(`^${segmentSyntax}-${elementSyntax}$`).exec(text)
  if (found === null) return invalid(text, 'a path; write SEG-element.component, such as CLP-2 or NM1[QC]-9')
  const [, segment, qualifier, ...numbers] = found
  const part = partOf(numbers)
  if (part === undefined) return invalid(text, 'a path: a range ends behind its beginning, such as GS-4-5')
  return { valid: true, path: { segment: segment!, ...(qualifier !== undefined && { qualifier }), ...part } }
}

/** Reads the name of segments: `NM1` or `NM1[QC]`. */
export function parseX12Segment(text: string): Reading<X12SegmentPath> {
  const found = new RegExp(`^${segmentSyntax}$`).exec(text)
  if (found === null) return invalid(text, 'the name of a segment, such as NM1[QC]')
  const [, segment, qualifier] = found
  return { valid: true, path: { segment: segment!, ...(qualifier !== undefined && { qualifier }) } }
}

/** Reads a path inside a segment: `9` or `1.2`. */
export function parseX12Part(text: string): Reading<X12PartPath> {
  const found = new RegExp(`^${elementSyntax}$`).exec(text)
  const part = found === null ? undefined : partOf(found.slice(1))
  return part === undefined
    ? invalid(text, 'a path inside a segment; write element.component, such as 9')
    : { valid: true, path: part }
}

function partOf(numbers: readonly (string | undefined)[]): X12PartPath | undefined {
  const [element, through, component] = numbers.map((one) => (one === undefined ? undefined : Number(one)))
  if (element === undefined || (through !== undefined && through <= element)) return undefined
  return {
    element,
    ...(through !== undefined && { through }),
    ...(component !== undefined && { component }),
  }
}

function invalid(text: string, wanted: string): { readonly valid: false; readonly because: string } {
  return { valid: false, because: `${JSON.stringify(text.slice(0, 60))} is not ${wanted}` }
}
