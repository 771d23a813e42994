import { useState } from "react";
import { graphql, useMutation } from "react-relay";

import type { CreateLeadInput, FormCreateMutation } from "./__generated__/FormCreateMutation.graphql";
import { Refused } from "./environment";

/** A new lead; what is wrong with a field stands beside it. */
export function Form({ input }: { input: CreateLeadInput }) {
  const [refused, setRefused] = useState<Refused>();
  const [create, isSaving] = useMutation<FormCreateMutation>(graphql`
    mutation FormCreateMutation($input: CreateLeadInput!) {
      createLead(input: $input) {
        id
      }
    }
  `);
  const save = () =>
    create({ variables: { input }, onError: (error) => setRefused(error instanceof Refused ? error : undefined) });
  return (
    <form>
      {Object.entries(input).map(([name, value]) => (
        <label key={name}>
          <input name={name} defaultValue={String(value)} />
          {refused?.details.problems
            ?.filter(({ field }) => field === name)
            .map(({ reason, message }) => (
              <em key={reason} data-field={name} data-reason={reason}>
                {message}
              </em>
            ))}
        </label>
      ))}
      <button id="save" type="button" disabled={isSaving} onClick={save}>
        Save
      </button>
    </form>
  );
}
