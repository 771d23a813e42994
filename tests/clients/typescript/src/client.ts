import type { ErrorCode, ErrorDetailsFragment, TypedDocumentString } from "./gql/graphql.js";

type GraphQLProblem = {
  message: string;
  path?: (string | number)[];
  extensions: Partial<ErrorDetailsFragment> & { code: ErrorCode };
};

export type Problems = readonly [GraphQLProblem, ...GraphQLProblem[]];

export class CrmError extends Error {
  constructor(readonly problems: Problems) {
    super(problems[0].message);
  }

  get code(): ErrorCode {
    return this.problems[0].extensions.code;
  }

  get details(): GraphQLProblem["extensions"] {
    return this.problems[0].extensions;
  }
}

export class Client {
  constructor(
    private readonly url: string,
    private readonly token?: string, // `crm dev` needs none
  ) {}

  async run<Data, Variables>(
    document: TypedDocumentString<Data, Variables>,
    ...[variables]: Variables extends Record<string, never> ? [] : [Variables]
  ): Promise<Data> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json, application/json",
        "content-type": "application/json",
        ...(this.token && { authorization: `Bearer ${this.token}` }),
      },
      body: JSON.stringify({ query: document.toString(), variables }),
    });
    const answer = (await response.json()) as { data?: Data | null; errors?: Problems };
    if (answer.errors) throw new CrmError(answer.errors);
    if (!answer.data) throw new Error(`HTTP ${response.status} without data`);
    return answer.data;
  }
}
